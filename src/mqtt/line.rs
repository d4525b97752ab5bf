//! The TCP connection below MQTT.
//!
//! What has been written and not yet delivered is the kernel's, and the kernel goes on delivering
//! it after the connection has been given up: an accept could reach the broker long after its
//! time. A connection that ends without a goodbye, be it that the process is killed, is therefore
//! reset, which throws away what it still holds; the outbox has it all.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use rumqttc::{Event, NetworkOptions, Outgoing};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Whether the goodbye has been said, shared with who runs the library.
#[derive(Clone, Default)]
pub(super) struct Goodbye(Arc<AtomicBool>);

impl Goodbye {
    /// Looks whether this was it. The library says it when the broker has acknowledged everything.
    pub(super) fn note(&self, event: &Event) {
        if matches!(event, Event::Outgoing(Outgoing::Disconnect)) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// A connection that is reset when it ends before the goodbye.
pub(super) struct Line {
    stream: TcpStream,
    goodbye: Goodbye,
}

/// Connects to `host`, a name or an address with its port.
pub(super) async fn connect(
    host: String,
    options: NetworkOptions,
    goodbye: Goodbye,
) -> io::Result<Line> {
    let stream = rumqttc::default_socket_connect(host, options).await?;
    stream.set_zero_linger()?;
    Ok(Line { stream, goodbye })
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.goodbye.0.load(Ordering::Relaxed) {
            // Failing, it would only be reset.
            #[expect(deprecated, reason = "a time to linger would block, none does not")]
            let _ = self.stream.set_linger(None);
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_line_is_cut_unless_the_goodbye_was_said() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        let broker = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = broker.local_addr().unwrap().to_string();
        for (said, expected) in [(false, Err(ErrorKind::ConnectionReset)), (true, Ok(0))] {
            let goodbye = Goodbye::default();
            let connecting = connect(host.clone(), NetworkOptions::new(), goodbye.clone());
            let line = runtime.block_on(connecting).unwrap();
            let (mut peer, _) = broker.accept().unwrap();
            if said {
                goodbye.note(&Event::Outgoing(Outgoing::Disconnect));
            }
            runtime.block_on(async { drop(line) });
            let end = peer.read(&mut [0]).map_err(|error| error.kind());
            assert_eq!(end, expected, "goodbye {said}");
        }
    }
}
