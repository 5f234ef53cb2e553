//! A watch that is open: events pass until something goes wrong.

use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::fault::StreamFault;
use super::{Body, torn};

const EXPIRED: &[u8] = br#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version","reason":"Expired","code":410}}
"#;
/// The beginning of an event.
const HALF: &[u8] = br#"{"type":"MODIFIED","object":{"kind":"Node","metadata":{"na"#;

type Piece = Result<Frame<Bytes>, io::Error>;

/// Passes on what comes, with a pause before each piece.
pub fn pump(from: Incoming, faults: mpsc::UnboundedReceiver<StreamFault>, pause: Duration) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(pass(from, faults, pause, sender));
    let pieces = futures::stream::unfold(receiver, async |mut receiver| {
        let piece: Option<Piece> = receiver.recv().await;
        piece.map(|piece| (piece, receiver))
    });
    BodyExt::boxed(StreamBody::new(Box::pin(pieces)))
}

async fn pass(
    mut from: Incoming,
    mut faults: mpsc::UnboundedReceiver<StreamFault>,
    pause: Duration,
    to: mpsc::Sender<Piece>,
) {
    let data = |bytes: &'static [u8]| Ok(Frame::data(Bytes::from_static(bytes)));
    loop {
        // A client that is gone is seen when something is sent, or here.
        let last = tokio::select! {
            () = to.closed() => return,
            fault = faults.recv() => match fault {
                Some(StreamFault::Stalled(time)) => {
                    sleep(time).await;
                    continue;
                }
                Some(StreamFault::Cut) => Err(torn()),
                Some(StreamFault::Truncated) => data(HALF),
                Some(StreamFault::Expired) => data(EXPIRED),
                Some(StreamFault::Ended) | None => return,
            },
            frame = from.frame() => match frame {
                Some(Ok(frame)) => {
                    sleep(pause).await;
                    if to.send(Ok(frame)).await.is_err() {
                        return;
                    }
                    continue;
                }
                Some(Err(error)) => Err(io::Error::other(error)),
                None => return,
            },
        };
        // Whoever is gone already misses nothing.
        let _ = to.send(last).await;
        return;
    }
}
