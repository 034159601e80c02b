//! Load on a TURN server of this machine, and what it costs that: for comparing servers in one run.
//!
//! ```text
//! relay_load --server 127.0.0.1:3478 --secret S --pid PID [--allocations 10] [--seconds 4] [--bytes 1000] [--rate 20000]
//! ```
//!
//! Clients send by channels to one sink on 127.0.0.1, paced by milliseconds or, with `--rate 0`, as fast as one thread
//! can. Printed: what arrived, and the CPU time of PID for each packet that did. The server has to allow the sink as a
//! peer (TURN_ALLOW_PEERS=127.0.0.1, coturn's --allow-loopback-peers) and so much of one user.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[path = "../../../tests/nat/client.rs"]
mod client;

use client::Client;
use turn_types::attribute::Lifetime;
use turn_types::message::REFRESH;

struct Arguments {
    server: SocketAddr,
    secret: String,
    pid: u32,
    allocations: u32,
    seconds: u64,
    bytes: usize,
    rate: u64,
}

fn arguments() -> Arguments {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let of = |name: &str| {
        let at = words.iter().position(|word| word == &format!("--{name}"))?;
        words.get(at + 1).cloned()
    };
    let number =
        |name: &str, default: u64| of(name).map_or(default, |text| text.parse().expect("a number"));
    Arguments {
        server: of("server").expect("--server").parse().expect("an address"),
        secret: of("secret").expect("--secret"),
        pid: of("pid").expect("--pid").parse().expect("a number"),
        allocations: number("allocations", 10) as u32,
        seconds: number("seconds", 4),
        bytes: number("bytes", 1_000) as usize,
        rate: number("rate", 20_000),
    }
}

/// CPU seconds that a process has had. Linux counts hundredths.
fn cpu(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let (_, fields) = text.rsplit_once(')').expect("a name");
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: f64 = fields[11..13]
        .iter()
        .map(|field| field.parse::<f64>().expect("ticks"))
        .sum();
    ticks / 100.0
}

fn main() {
    let Arguments {
        server,
        secret,
        pid,
        allocations,
        seconds,
        bytes,
        rate,
    } = arguments();
    let sink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let to = sink.local_addr().expect("bound");
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    // coturn takes a time that is decades away for one that is over.
    let expiry = now.expect("after 1970").as_secs() + 3_600;
    let mut clients: Vec<Client> = (0..allocations)
        .map(|number| {
            let from = Ipv4Addr::new(127, 0, 0, 1);
            let name = format!("load{number}");
            let mut client = Client::new(from, server, &secret, (&name, expiry));
            client.allocate().expect("a relay");
            client.bind(0x4000, to).expect("a channel");
            client
        })
        .collect();
    let (arrived, over) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let counting = {
        let (arrived, over) = (Arc::clone(&arrived), Arc::clone(&over));
        sink.set_read_timeout(Some(Duration::from_millis(200)))
            .expect("a time");
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !over.load(Ordering::Relaxed) {
                if sink.recv(&mut buffer).is_ok() {
                    arrived.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    };
    let length = u16::try_from(bytes).expect("less than 64 KiB");
    let packet = [&[0x40, 0][..], &length.to_be_bytes(), &vec![0; bytes]].concat();
    let (began, before) = (Instant::now(), cpu(pid));
    let mut sent = 0_u64;
    while began.elapsed() < Duration::from_secs(seconds) {
        let due = match rate {
            0 => sent + 64,
            rate => rate * u64::try_from(began.elapsed().as_millis()).unwrap_or(0) / 1_000,
        };
        while sent < due {
            let client = &clients[(sent % u64::from(allocations)) as usize];
            // What finds no room is sent and lost.
            let _ = client.socket.send(&packet);
            sent += 1;
        }
        if rate > 0 {
            thread::sleep(Duration::from_micros(500));
        }
    }
    let took = began.elapsed().as_secs_f64();
    thread::sleep(Duration::from_millis(300));
    let used = cpu(pid) - before;
    let got = arrived.load(Ordering::Relaxed);
    over.store(true, Ordering::Relaxed);
    counting.join().expect("it counts");
    // Or the next run may meet these at its ports.
    let end = Lifetime::new(0);
    for client in &mut clients {
        client.ask(REFRESH, &[&end], None).expect("its end");
    }
    println!(
        "sent {sent}, arrived {got} ({:.2} % lost), {:.1} kpps, {:.1} us of CPU a packet",
        100.0 * (sent - got) as f64 / sent.max(1) as f64,
        got as f64 / took / 1e3,
        used * 1e6 / got.max(1) as f64,
    );
}
