//! Following the Machines of whichever project manages the cluster's nodes, if the policy asks for them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use kube::core::ApiResource;
use kube::runtime::watcher::{Config, Event};
use kube::{Api, ResourceExt};
use tokio::time::sleep;

use super::Controller;
use crate::api::Machine;
use crate::client::{MACHINES, MachineCluster, MachineKind, discover};
use crate::identity::MachineRecord;
use crate::policy::Source;
use crate::watch::{Health, follow};

/// How often to look whether the API server has come to know a kind of Machine, and whether the policy asks for one.
const LOOK: Duration = Duration::from_secs(5);

impl Controller {
    /// Follows one kind of Machine as long as the API server knows it and the policy asks for Machines.
    pub(super) async fn follow_machines(self: Arc<Self>, cluster: MachineCluster, kind: &'static MachineKind) {
        let Some(watched) = self.machine_watches.get(kind.name).cloned() else { return };
        loop {
            if self.orders().policy.asks(Source::Machine) {
                match discover(&cluster.client, kind).await {
                    Ok(Some(resource)) => tokio::select! {
                        () = self.follow_resource(&cluster, kind, &resource) => {}
                        () = self.until_not_asked() => {
                            watched.set(Health::Syncing);
                            self.forget_machines(kind, &HashSet::new());
                        }
                    },
                    Ok(None) => {
                        self.forget_machines(kind, &HashSet::new());
                        watched.set(Health::Live);
                    }
                    Err(why) => watched.set(Health::Down(why.to_string())),
                }
            }
            sleep(LOOK).await;
        }
    }

    async fn until_not_asked(&self) {
        while self.orders().policy.asks(Source::Machine) {
            sleep(LOOK).await;
        }
    }

    /// Returns when the API server may not know the resource any more.
    async fn follow_resource(&self, cluster: &MachineCluster, kind: &'static MachineKind, resource: &ApiResource) {
        let Some(watched) = self.machine_watches.get(kind.name).cloned() else { return };
        let key = |machine: &Machine| {
            format!("{}/{}/{}", kind.group, machine.namespace().unwrap_or_default(), machine.name_any())
        };
        let mut listed = HashSet::new();
        let client = cluster.client.clone();
        let api = match &cluster.namespace {
            Some(namespace) => Api::<Machine>::namespaced_with(client, namespace, resource),
            None => Api::<Machine>::all_with(client, resource),
        };
        follow(api, Config::default(), watched, |event| match event {
            Event::Init => listed.clear(),
            Event::InitApply(machine) => {
                listed.insert(key(&machine));
                self.apply_machine(&key(&machine), MachineRecord::read(&machine));
            }
            Event::Apply(machine) => self.apply_machine(&key(&machine), MachineRecord::read(&machine)),
            Event::Delete(machine) => self.apply_machine(&key(&machine), None),
            Event::InitDone => self.forget_machines(kind, &std::mem::take(&mut listed)),
        })
        .await;
    }

    fn apply_machine(&self, key: &str, record: Option<MachineRecord>) {
        let mut store = self.store.lock();
        store.apply_machine(key, record);
        self.wake_workers(&store);
    }

    /// Forgets every Machine of a kind but these, which are all that exist.
    fn forget_machines(&self, kind: &MachineKind, but: &HashSet<String>) {
        let keys = self.store.lock().machines.keys_of(kind.group);
        for key in keys.iter().filter(|key| !but.contains(*key)) {
            self.apply_machine(key, None);
        }
    }

    /// Starts to follow all kinds.
    pub(super) fn follow_all_machines(
        self: &Arc<Self>,
        cluster: &MachineCluster,
        tasks: &mut tokio::task::JoinSet<()>,
    ) {
        for kind in MACHINES {
            tasks.spawn(self.clone().follow_machines(cluster.clone(), kind));
        }
    }
}
