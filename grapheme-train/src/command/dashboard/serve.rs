//! The page over HTTP, and the data that it asks for again: two addresses, and no file is ever looked up by a name from the
//! network.

use crate::output::tell;
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::Duration;

/// What may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The whole page.
    Page,
    /// Its data alone.
    Data,
}

/// The longest head of a request that is read: no browser sends more for this page.
const LONGEST: u64 = 16 * 1024;

/// Serves what `answer` gives until the process is ended. Every other path is not found.
///
/// On a loopback address only requests are answered that were sent to this machine by name: a page of somebody else's, whose
/// name was made to lead here, gets nothing.
///
/// # Errors
/// If the address cannot be had.
pub fn serve(address: (IpAddr, u16), mut answer: impl FnMut(Asked) -> Result<String>) -> Result<()> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("{}:{} cannot be used; choose another with --port", address.0, address.1))?;
    tell(&format!("http://{}/ shows the run; end with Ctrl-C", listener.local_addr()?));
    for stream in listener.incoming() {
        // Whoever hangs up, or says nothing for a while, is forgotten.
        let _ = stream.and_then(|stream| reply(stream, address.0.is_loopback(), &mut answer));
    }
    Ok(())
}

fn reply(
    mut stream: TcpStream,
    loopback: bool,
    answer: &mut impl FnMut(Asked) -> Result<String>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    let mut head = BufReader::new(&stream).take(LONGEST);
    let mut first = String::new();
    head.read_line(&mut first)?;
    let mut host = None;
    for line in head.lines() {
        let line = line?;
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("host") => host = Some(value.trim().to_owned()),
            _ if line.is_empty() => break,
            _ => {}
        }
    }
    let strange = loopback && !host.as_deref().is_some_and(is_this_machine);
    let asked = match first.split_whitespace().collect::<Vec<_>>()[..] {
        _ if strange => None,
        ["GET", "/" | "/report.html", ..] => Some(Asked::Page),
        ["GET", "/data.json", ..] => Some(Asked::Data),
        _ => None,
    };
    let (status, kind, body) = match asked.map(|asked| (asked, answer(asked))) {
        Some((Asked::Page, Ok(page))) => ("200 OK", "text/html", page),
        Some((Asked::Data, Ok(data))) => ("200 OK", "application/json", data),
        Some((_, Err(error))) => ("503 Service Unavailable", "text/plain", format!("{error:#}\n")),
        None if strange => ("403 Forbidden", "text/plain", "This page is shown to its own machine alone\n".to_owned()),
        None => ("404 Not Found", "text/plain", "There is one page here, at /\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

/// Whether the name before the port is one of this machine's own.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}
