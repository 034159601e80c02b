//! `peer-client nat`: the type of the NAT, the public address, and advice.

use clap::Args;
use hubmesh_cli::Exit;
use hubmesh_client::coordinator::{Finding, NatInfo, Recommendation};
use serde_json::json;

use super::{Common, failed};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    common: Common,
}

pub async fn run(arguments: Arguments) -> Exit {
    let coordinator = match arguments.common.coordinator(false) {
        Ok(coordinator) => coordinator,
        Err(exit) => return exit,
    };
    let info = match coordinator.initialize().await {
        Ok(info) => info,
        Err(error) => return failed(&error),
    };
    let advice = coordinator.recommended_strategy();
    if arguments.common.json {
        println!("{}", json!({"event": "nat", "nat": info, "advice": advice}));
    } else {
        print(&info, &advice);
    }
    match info.finding {
        Finding::Unknown { .. } => Exit::Unreachable,
        Finding::Determined { .. } | Finding::Undetermined { .. } | Finding::UdpBlocked => Exit::Ok,
    }
}

fn print(info: &NatInfo, advice: &Recommendation) {
    match &info.finding {
        Finding::Determined { kind } => println!("NAT: {kind}"),
        Finding::Undetermined { possible, reason } => {
            let names: Vec<_> = possible.iter().map(|kind| kind.as_str()).collect();
            println!("NAT: undetermined, {} ({reason})", names.join(" or "));
        }
        Finding::UdpBlocked => println!("NAT: UDP is blocked"),
        Finding::Unknown { reason } => println!("NAT: unknown ({reason})"),
    }
    if let (Some(public), Some(local)) = (info.public, info.local) {
        println!("public address: {public}, of {local} here");
    }
    let (servers, took) = (info.answered.len(), info.took.as_millis());
    println!("asked: {servers} servers answered, {took} ms");
    println!("advice: {}", advice.description);
}
