//! The floor: a relay that reads frames and writes them on, and does nothing else.
//!
//! What any server of the same work is compared with: tokio, TCP, a length before each frame, a lock around each
//! receiver and one write per frame. No WebSocket, no JSON, no limits, no queues: a slow reader holds up all peers that
//! send to it, which is why this serves benchmarks and nothing else. The frames are those of `dialect/floor`.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use crate::dialect::{ID_LEN, read_frame, write_frame};

type Id = [u8; ID_LEN];
type Writers = RwLock<HashMap<Id, Arc<Mutex<OwnedWriteHalf>>>>;

/// How much is read at once: several frames of the usual size.
const READ_BYTES: usize = 2048;

/// Serves until the future is dropped. Says its address on standard output once it listens.
pub async fn serve(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    println!("floor relay on {}", listener.local_addr()?);
    let writers: Arc<Writers> = Arc::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(relay(stream, Arc::clone(&writers)));
    }
}

async fn relay(stream: TcpStream, writers: Arc<Writers>) {
    let (reader, writer) = stream.into_split();
    let writer = Arc::new(Mutex::new(writer));
    let mut connection = Relayed {
        reader,
        input: Vec::with_capacity(READ_BYTES),
        output: Vec::new(),
        id: None,
    };
    // A connection that ends or breaks is over either way, and a benchmark need not tell anything of it.
    let _ = connection.run(&writer, &writers).await;
    if let Some(id) = connection.id {
        writers.write().remove(&id);
    }
}

struct Relayed {
    reader: OwnedReadHalf,
    input: Vec<u8>,
    output: Vec<u8>,
    id: Option<Id>,
}

impl Relayed {
    async fn run(&mut self, own: &Arc<Mutex<OwnedWriteHalf>>, writers: &Writers) -> io::Result<()> {
        while self.reader.read_buf(&mut self.input).await? > 0 {
            let mut done = 0;
            loop {
                let pending = self.input.get(done..).unwrap_or_default();
                let Some((body, len)) = read_frame(pending).map_err(io::Error::other)? else {
                    break;
                };
                done += len;
                let Some((head, payload)) = body.split_first_chunk::<ID_LEN>() else {
                    return Err(io::Error::other("a frame without an id"));
                };
                self.output.clear();
                let receiver = match &self.id {
                    None => {
                        self.id = Some(*head);
                        writers.write().insert(*head, Arc::clone(own));
                        write_frame(&[], &mut self.output);
                        Some(Arc::clone(own))
                    }
                    Some(id) => {
                        write_frame(&[id, payload], &mut self.output);
                        writers.read().get(head).map(Arc::clone)
                    }
                };
                if let Some(receiver) = receiver {
                    // A receiver that broke loses its frames, and its own task sees why.
                    let _ = receiver.lock().await.write_all(&self.output).await;
                }
            }
            self.input.drain(..done);
        }
        Ok(())
    }
}
