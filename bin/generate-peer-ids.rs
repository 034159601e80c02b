//! `generate-peer-ids`: prints fresh peer ids, and the URLs that connect them to hubs.
//!
//! Owns its command line alone; ids and URLs come from `hubmesh_client`. Talks to no hub. Standard output carries
//! nothing but the ids (or URLs, or JSON), so that it can be piped.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::Parser;
use hubmesh_cli::{self as cli, Exit};
use hubmesh_client::{HubUrl, PeerId};
use serde::Serialize;

/// Prints fresh peer ids: 40 hexadecimal digits each, from 20 random bytes.
#[derive(Parser)]
#[command(
    name = "generate-peer-ids",
    version,
    after_help = "\
Long flags may be written with one dash, as the Go tools do: -hub, -json.

Examples:
  generate-peer-ids
  generate-peer-ids -n 5
  generate-peer-ids -n 2 --hub ws://localhost:8080,wss://hub.example.org
  generate-peer-ids -n 3 --hub ws://localhost:8080 --json

Exit codes: 0 done, 64 wrong usage, 1 anything else."
)]
struct Arguments {
    /// How many ids.
    #[arg(short = 'n', long = "count", default_value_t = 1, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// A hub to print connection URLs for; repeat it or separate several with commas.
    #[arg(long = "hub", value_name = "URL", value_delimiter = ',')]
    hubs: Vec<HubUrl>,
    /// One JSON array in place of lines.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Generated {
    peer_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    urls: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = match cli::parse::<Arguments>() {
        Ok(arguments) => arguments,
        Err(exit) => return exit.into(),
    };
    match print(&arguments) {
        Ok(()) => Exit::Ok.into(),
        // The reader of the pipe has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok.into(),
        Err(error) => {
            eprintln!("generate-peer-ids: {error}");
            Exit::Failed.into()
        }
    }
}

fn print(arguments: &Arguments) -> io::Result<()> {
    let generated = (0..arguments.count).map(|_| generate(&arguments.hubs));
    let mut out = BufWriter::new(io::stdout().lock());
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &generated.collect::<Vec<_>>())?;
        writeln!(out)?;
    } else {
        for peer in generated {
            writeln!(out, "{}", peer.peer_id)?;
            for url in peer.urls {
                writeln!(out, "  {url}")?;
            }
        }
    }
    out.flush()
}

fn generate(hubs: &[HubUrl]) -> Generated {
    let id = PeerId::random();
    Generated {
        urls: hubs.iter().map(|hub| hub.for_peer(&id).into()).collect(),
        peer_id: id.to_string(),
    }
}
