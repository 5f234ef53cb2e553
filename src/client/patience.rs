//! Answers that have to go on coming.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use thiserror::Error;
use tokio::time::{Instant, Sleep, sleep};
use tower::BoxError;

use super::REQUEST_TIMEOUT;

/// The API server does not answer, or does not go on answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no answer from the API server within {} s", REQUEST_TIMEOUT.as_secs())]
pub(super) struct NoAnswer;

/// The body of an answer, which has to keep coming: a connection can die in silence at any time.
pub(super) struct Patient<B> {
    body: Pin<Box<B>>,
    patience: Option<Duration>,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<B> Patient<B> {
    /// Waits so long for each part; for ever without a time.
    pub(super) fn new(body: B, patience: Option<Duration>) -> Self {
        Self { body: Box::pin(body), patience, waiting: None }
    }
}

impl<B> Body for Patient<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = self.body.as_mut().poll_frame(context) {
            // The next part has its own time.
            self.waiting = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some(patience) = self.patience else { return Poll::Pending };
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(waiting.as_mut().poll(context));
        waiting.as_mut().reset(Instant::now() + patience);
        Poll::Ready(Some(Err(NoAnswer.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;

    use futures::stream::{self, StreamExt};
    use http_body_util::StreamBody;
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A body of which a part comes after each of these times, and nothing after that.
    fn body(times: &'static [u64]) -> impl Body<Data = Bytes, Error = Infallible> {
        let parts = stream::iter(times).then(async |seconds| {
            sleep(Duration::from_secs(*seconds)).await;
            Ok(Frame::data(Bytes::from_static(b"part")))
        });
        StreamBody::new(parts.chain(stream::pending()))
    }

    async fn next(body: &mut Patient<impl Body<Data = Bytes, Error = Infallible>>) -> Result<Bytes, String> {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await.unwrap();
        frame.map(|frame| frame.into_data().unwrap()).map_err(|error| error.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn parts_may_come_slowly_and_have_to_go_on_coming() {
        let mut body = Patient::new(body(&[9, 9, 9]), Some(PATIENCE));
        for _ in 0..3 {
            assert!(next(&mut body).await.is_ok());
        }
        let began = Instant::now();
        assert_eq!(next(&mut body).await, Err(NoAnswer.to_string()));
        assert_eq!(began.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_time_it_waits_for_ever() {
        let mut body = Patient::new(body(&[9]), None);
        assert!(next(&mut body).await.is_ok());
        assert!(timeout(Duration::from_hours(1), next(&mut body)).await.is_err());
    }
}
