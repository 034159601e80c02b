//! Accepting: what one connection costs in CPU time, from TCP's first packet to being announced in a network of two.

use tokio::time::Instant;

use crate::connection::Failure;
use crate::lab::Lab;
use crate::report::Report;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub connections: usize,
}

pub async fn run(lab: &Lab, options: &Options) -> Result<Report, Failure> {
    let before = lab.watched.sample()?;
    let began = Instant::now();
    let mut peers = lab.open_many(options.connections, 2).await?;
    lab.join_all(&mut peers).await?;
    let took = began.elapsed();
    let used = lab.watched.sample()?.since(&before);

    let connections = options.connections as u64;
    let title = format!(
        "accept: {connections} connections, {} dialect, {}",
        lab.dialect,
        lab.hubs()
    );
    let mut report = Report::new(title);
    report.count("connections", "connected and announced", connections);
    let rate = connections as f64 / took.as_secs_f64();
    report.figure("connections_per_s", "connections a second", rate, "/s");
    report.servers(&used, connections, "connection");
    Ok(report)
}
