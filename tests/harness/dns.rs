//! A DNS server whose answers tests choose.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Where it listens, within the sandbox.
const ADDRESS: (Ipv4Addr, u16) = (Ipv4Addr::new(127, 0, 0, 53), 53);
/// How long its answers may be kept.
const TTL_SECONDS: u32 = 1;

/// A server that runs until it is dropped, and is the sandbox's only one.
pub struct DnsServer {
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    names: BTreeMap<String, Vec<IpAddr>>,
    silent: bool,
    asked: BTreeSet<String>,
}

impl DnsServer {
    /// Starts it, and makes the sandbox's `/etc/resolv.conf` name it and this search domain.
    pub async fn start(directory: &Path, search: &str) -> Result<Self> {
        let socket = UdpSocket::bind(ADDRESS).await.context("serve DNS")?;
        let configuration = directory.join("resolv.conf");
        std::fs::write(&configuration, format!("nameserver {}\nsearch {search}\n", ADDRESS.0))?;
        rustix::mount::mount_bind(&configuration, "/etc/resolv.conf").context("put a resolv.conf in place")?;
        let state = Arc::<Mutex<State>>::default();
        let task = tokio::spawn(serve(socket, state.clone()));
        Ok(Self { state, task })
    }

    /// Says where a name leads from now on.
    pub fn set(&self, name: &str, addresses: &[&str]) -> Result<()> {
        let addresses = addresses.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        lock(&self.state).names.insert(format!("{name}."), addresses);
        Ok(())
    }

    /// Whether it gives no answers any more.
    pub fn set_silent(&self, silent: bool) {
        lock(&self.state).silent = silent;
    }

    /// Whether anybody has asked for a name.
    pub fn was_asked(&self, name: &str) -> bool {
        lock(&self.state).asked.contains(&format!("{name}."))
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(socket: UdpSocket, state: Arc<Mutex<State>>) {
    let mut buffer = [0; 1500];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { return };
        let answer = buffer
            .get(..length)
            .and_then(|bytes| Message::from_vec(bytes).ok())
            .and_then(|query| answer(&query, &state));
        if let Some(answer) = answer {
            // A client that is gone needs no answer.
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

fn answer(query: &Message, state: &Mutex<State>) -> Option<Vec<u8>> {
    let question = query.queries.first()?;
    let name = question.name().to_ascii().to_lowercase();
    let mut state = lock(state);
    state.asked.insert(name.clone());
    if state.silent {
        return None;
    }
    let mut answer = Message::response(query.metadata.id, OpCode::Query);
    answer.add_query(question.clone());
    match state.names.get(&name) {
        None => answer.metadata.response_code = ResponseCode::NXDomain,
        Some(addresses) => {
            let fits = |address: &&IpAddr| match question.query_type() {
                RecordType::A => address.is_ipv4(),
                RecordType::AAAA => address.is_ipv6(),
                _ => false,
            };
            let record =
                |address: &IpAddr| Record::from_rdata(question.name().clone(), TTL_SECONDS, RData::from(*address));
            answer.add_answers(addresses.iter().filter(fits).map(record));
        }
    }
    answer.to_vec().ok()
}
