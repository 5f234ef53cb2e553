//! A real Kubernetes cluster for the programs of this repository, without containers and without privileges.
//!
//! ```text
//! namespace::enter ─► builds the control plane's binary once, then starts the program again inside its own namespaces
//! ControlPlane ─────► etcd, kube-apiserver, kube-controller-manager, each a child process in a directory that vanishes
//! Kubelet ──────────► a real kubelet on a fake container runtime: bootstraps by token, asks for its certificate, serves TLS
//! Controller ───────► the `countersign` binary as a child process
//! Helm, Pod ────────► the chart, installed, and the binary with what a container of its Deployment is given
//! Proxy ────────────► between the two, where a test wants the network to fail
//! ```
// Each program that includes this module uses a part of it.
#![allow(dead_code)]

pub mod account;
pub mod approval;
pub mod audit;
pub mod binary;
pub mod bootstrap;
pub mod components;
pub mod control_plane;
pub mod controller;
pub mod crd;
pub mod dns;
pub mod go;
pub mod helm;
pub mod kubeconfig;
pub mod kubectl;
pub mod kubelet;
pub mod lease;
pub mod mount;
pub mod namespace;
pub mod network;
pub mod pki;
pub mod plain_http;
pub mod pod;
pub mod process;
pub mod protobuf;
pub mod proxy;
#[path = "../common/random.rs"]
pub mod random;
pub mod requests;
pub mod tls;
pub mod wait;
