//! Whose turn it is to do what takes long: some at once over all nodes, and few of each.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// What may be done at once. Who waits for a turn has it in the order of coming, but no node waits for what another one
/// has too much of.
pub(super) struct Turns {
    of_all: Semaphore,
    of_each: usize,
    /// The nodes of which something is being done or waits.
    nodes: Mutex<HashMap<Box<str>, Arc<Semaphore>>>,
}

impl Turns {
    pub(super) fn new(of_all: usize, of_each: usize) -> Self {
        Self { of_all: Semaphore::new(of_all), of_each, nodes: Mutex::default() }
    }

    /// Does it when it is its turn.
    pub(super) async fn take<T>(&self, node: &str, work: impl Future<Output = T>) -> T {
        let own = {
            let mut nodes = self.nodes.lock();
            nodes.entry(node.into()).or_insert_with(|| Arc::new(Semaphore::new(self.of_each))).clone()
        };
        let done = {
            // Neither is ever closed.
            let _own = own.acquire().await;
            let _turn = self.of_all.acquire().await;
            work.await
        };
        let mut nodes = self.nodes.lock();
        // Its own and this one: nobody else of this node.
        if Arc::strong_count(&own) == 2 {
            nodes.remove(node);
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::future::join_all;
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_that_has_much_to_do_keeps_no_other_waiting() {
        let (turns, begun) = (Turns::new(64, 4), Instant::now());
        let slow = Duration::from_secs(5);
        let flooder = join_all((0..100).map(|_| turns.take("flooder", async { sleep(slow).await })));
        let other = async {
            // After the whole flood.
            sleep(Duration::from_millis(1)).await;
            turns.take("other", async {}).await;
            begun.elapsed()
        };
        let (_, other) = tokio::join!(flooder, other);
        assert!(other < slow, "it has waited for {other:?}");
        assert_eq!(begun.elapsed().as_secs(), 100 / 4 * slow.as_secs());
        assert!(turns.nodes.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn all_nodes_together_have_so_many_turns() {
        let (turns, begun) = (Turns::new(2, 1), Instant::now());
        join_all(["a", "b", "c", "d"].map(|node| turns.take(node, async { sleep(Duration::from_secs(1)).await })))
            .await;
        assert_eq!(begun.elapsed().as_secs(), 2);
    }
}
