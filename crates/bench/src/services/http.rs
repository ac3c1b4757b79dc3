//! One HTTP/1.1 connection that is kept: just enough to ask a server that one has started oneself.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{BenchError, lost};

/// The longest reply that is read.
const REPLY_BYTES_MAX: usize = 64 * 1024;

pub(super) struct Connection {
    stream: TcpStream,
    host: String,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(to: SocketAddr) -> Result<Self, BenchError> {
        let stream = TcpStream::connect(to).await.map_err(lost)?;
        stream.set_nodelay(true).map_err(lost)?;
        Ok(Connection { stream, host: to.to_string(), buffer: Vec::new() })
    }

    /// Posts JSON, and returns what a reply of status 200 holds.
    pub async fn post(&mut self, path: &str, json: &str) -> Result<String, BenchError> {
        let (host, length) = (&self.host, json.len());
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{json}"
        );
        self.stream.write_all(request.as_bytes()).await.map_err(lost)?;
        self.buffer.clear();
        loop {
            if let Some(reply) = whole(&self.buffer)? {
                return Ok(reply);
            }
            let more = self.stream.read_buf(&mut self.buffer).await.map_err(lost)?;
            if more == 0 || self.buffer.len() > REPLY_BYTES_MAX {
                return Err(lost("the server's reply ends early or is too long"));
            }
        }
    }
}

/// The body of a reply, once it is all there.
fn whole(bytes: &[u8]) -> Result<Option<String>, BenchError> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let (head, body) = bytes.split_at(end + 4);
    let head = String::from_utf8_lossy(head);
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    let length = length.ok_or_else(|| lost("the server's reply does not say how long it is"))?;
    if body.len() < length {
        return Ok(None);
    }
    let body = String::from_utf8_lossy(body).into_owned();
    if head.starts_with("HTTP/1.1 200 ") { Ok(Some(body)) } else { Err(lost(format!("the server replied: {body}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_read_when_it_is_all_there_and_what_is_no_success_is_an_error() {
        let reply = b"HTTP/1.1 200 OK\r\nGrpc-Metadata-Content-Type: x\r\ncontent-length: 4\r\n\r\n{  }";
        for cut in 0..reply.len() {
            assert_eq!(whole(&reply[..cut]).unwrap(), None, "{cut}");
        }
        assert_eq!(whole(reply).unwrap().as_deref(), Some("{  }"));
        assert!(whole(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n").is_err());
        assert!(whole(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }
}
