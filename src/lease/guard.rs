//! Connections that carry nothing once the time of this instance is over.
//!
//! A request that the program has given up may still wait in the connection's own task to be sent, and be sent when a
//! process that was stopped goes on. So the last look at the clock comes right before the bytes go to the kernel.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use tower::Service;

use super::{Leadership, NotLeading};

/// Makes connections over which only a leader can send.
#[derive(Clone)]
pub struct GuardedConnector<C> {
    inner: C,
    leadership: Leadership,
}

impl<C> GuardedConnector<C> {
    /// Guards the connections that another connector makes.
    pub fn new(inner: C, leadership: Leadership) -> Self {
        Self { inner, leadership }
    }
}

impl<C> Service<Uri> for GuardedConnector<C>
where
    C: Service<Uri>,
    C::Future: Send + 'static,
{
    type Response = Guarded<C::Response>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, C::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.inner.call(uri);
        let leadership = self.leadership.clone();
        Box::pin(async move { Ok(Guarded { io: connecting.await?, leadership }) })
    }
}

/// A connection over which only a leader can send.
pub struct Guarded<T> {
    io: T,
    leadership: Leadership,
}

impl<T> Guarded<T> {
    fn ensure_in_time(&self) -> io::Result<()> {
        if self.leadership.is_in_time() { Ok(()) } else { Err(io::Error::other(NotLeading)) }
    }
}

impl<T: Connection> Connection for Guarded<T> {
    fn connected(&self) -> Connected {
        self.io.connected()
    }
}

impl<T: Read + Unpin> Read for Guarded<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buf)
    }
}

impl<T: Write + Unpin> Write for Guarded<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.ensure_in_time()?;
        Pin::new(&mut self.io).poll_write(context, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.ensure_in_time()?;
        Pin::new(&mut self.io).poll_write_vectored(context, bufs)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;

    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};
    use tokio::sync::watch;
    use tokio::time::{Instant, advance};

    use super::*;
    use crate::lease::leadership::Standing;
    use crate::lease::{RENEW_DEADLINE, WRITE_GRACE};

    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_when_the_time_is_over() {
        let until = Some(Instant::now() + RENEW_DEADLINE);
        let (_sender, receiver) = watch::channel(Standing { until, ..Standing::default() });
        let (near, mut far): (DuplexStream, DuplexStream) = duplex(64);
        let near = parking_lot::Mutex::new(Some(TokioIo::new(near)));
        let connector =
            tower::service_fn(move |_| std::future::ready(Ok::<_, Infallible>(near.lock().take().unwrap())));
        let mut connector = GuardedConnector::new(connector, Leadership::new(receiver));
        let mut connection = connector.call(Uri::from_static("http://a")).await.unwrap();
        let mut send = async |text: &'static [u8]| {
            poll_fn(|context| Pin::new(&mut connection).poll_write(context, text)).await.map_err(|it| it.to_string())
        };
        advance(RENEW_DEADLINE).await;
        assert_eq!(send(b"in time").await, Ok(7));
        advance(WRITE_GRACE).await;
        assert_eq!(send(b"late").await, Err(NotLeading.to_string()));
        let mut arrived = [0; 64];
        assert_eq!(far.read(&mut arrived).await.unwrap(), 7);
    }
}
