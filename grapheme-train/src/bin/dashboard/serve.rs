//! The page over HTTP: one address, one page, made anew at each request.

use anyhow::{Context, Result};
use grapheme_train::output::tell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Serves `page` at `/` until the process is ended. Every other path is not found; no file is ever looked up by a name
/// from the network.
///
/// # Errors
/// If the address cannot be had.
pub fn serve(address: (IpAddr, u16), page: impl Fn() -> Result<String>) -> Result<()> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("{}:{} cannot be used; choose another with --port", address.0, address.1))?;
    tell(&format!("http://{}/ shows the run; end with Ctrl-C", listener.local_addr()?));
    for stream in listener.incoming() {
        // Whoever hangs up, or says nothing for a while, is forgotten.
        let _ = stream.and_then(|stream| answer(stream, &page));
    }
    Ok(())
}

fn answer(mut stream: TcpStream, page: &impl Fn() -> Result<String>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    let mut first = String::new();
    // The first line says all; a longer one is no request of a browser for this page.
    BufReader::new(&stream).take(2048).read_line(&mut first)?;
    let (status, kind, body) = match first.split_whitespace().collect::<Vec<_>>()[..] {
        ["GET", "/" | "/report.html", ..] => match page() {
            Ok(page) => ("200 OK", "text/html", page),
            Err(error) => ("503 Service Unavailable", "text/plain", format!("{error:#}\n")),
        },
        _ => ("404 Not Found", "text/plain", "There is one page here, at /\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}
