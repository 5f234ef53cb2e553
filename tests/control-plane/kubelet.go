package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
	genericapiserver "k8s.io/apiserver/pkg/server"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	cliflag "k8s.io/component-base/cli/flag"
	cri "k8s.io/cri-client/pkg/fake"
	kubeletapp "k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	"k8s.io/kubernetes/pkg/kubelet"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	cadvisor "k8s.io/kubernetes/pkg/kubelet/cadvisor/testing"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	"k8s.io/kubernetes/pkg/kubemark"
)

// runKubelet is the kubelet with its own flags and its own start-up (bootstrap, rotation, authentication, registration, TLS):
// only the container runtime, the cgroups and the volumes are kubemark's fakes.
func runKubelet() int {
	server, err := options.NewKubeletServer()
	if err != nil {
		return fail("kubelet", err)
	}
	withoutContainers(server)
	flags := pflag.NewFlagSet("kubelet", pflag.ContinueOnError)
	flags.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	server.AddFlags(flags)
	if err := flags.Parse(os.Args[1:]); err != nil {
		return fail("kubelet", err)
	}
	ctx := genericapiserver.SetupSignalContext()
	dependencies, err := fakeDependencies(ctx, server)
	if err != nil {
		return fail("kubelet", err)
	}
	if err := kubeletapp.Run(ctx, server, dependencies, utilfeature.DefaultFeatureGate); err != nil {
		return fail("kubelet", err)
	}
	return 0
}

// withoutContainers sets what the kubelet would otherwise take from the machine, or share with another kubelet on it. Flags override it.
func withoutContainers(server *options.KubeletServer) {
	server.RotateCertificates = true
	server.ServerTLSBootstrap = true
	server.FailCgroupV1 = false
	server.CgroupsPerQOS = false
	server.EnforceNodeAllocatable = nil
	server.EvictionHard = nil
	server.FailSwapOn = false
	server.LocalStorageCapacityIsolation = false
	server.MakeIPTablesUtilChains = false
	server.ResolverConfig = ""
	server.HealthzPort = 0
	// The defaults of a configuration file; flags alone would leave the kubelet open to everybody.
	server.ReadOnlyPort = 0
	server.Authentication.Anonymous.Enabled = false
	server.Authentication.Webhook.Enabled = true
	server.Authorization.Mode = kubeletconfig.KubeletAuthorizationModeWebhook
}

func fakeDependencies(ctx context.Context, server *options.KubeletServer) (*kubelet.Dependencies, error) {
	for _, directory := range []string{server.RootDirectory, server.CertDirectory} {
		if err := os.MkdirAll(directory, 0o700); err != nil {
			return nil, err
		}
	}
	server.PodLogsDir = filepath.Join(server.RootDirectory, "pod-logs")
	server.VolumePluginDir = filepath.Join(server.RootDirectory, "volume-plugins")
	server.ContainerRuntimeEndpoint = "unix://" + filepath.Join(server.RootDirectory, "cri.sock")
	if err := cri.NewFakeRemoteRuntime().Start(server.ContainerRuntimeEndpoint); err != nil {
		return nil, fmt.Errorf("start the fake container runtime: %w", err)
	}
	dependencies := kubemark.NewHollowKubelet(&server.KubeletFlags, &server.KubeletConfiguration, nil, nil,
		&cadvisor.Fake{NodeName: server.HostnameOverride}, nil, nil, cm.NewStubContainerManager()).KubeletDeps
	// Typed nils would pass for clients; without any, the kubelet makes its own, by TLS bootstrap.
	dependencies.KubeClient, dependencies.HeartbeatClient, dependencies.EventClient = nil, nil, nil
	dependencies.Recorder = nil
	tlsOptions, err := kubeletapp.InitializeTLS(ctx, &server.KubeletFlags, &server.KubeletConfiguration)
	if err != nil {
		return nil, err
	}
	dependencies.TLSOptions = tlsOptions
	return dependencies, nil
}
