//! The limit on open files: raised as far as a process needs, or said plainly to be too low. Called once at
//! start, by the hub and by `load-test`.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a process needs beside its connections: standard streams, the runtime, `/proc`.
const SPARE: u64 = 64;

/// Makes space for `connections`, lifting the hard limit too where the process may.
pub fn allow(connections: usize) -> Result<(), String> {
    let wanted = connections as u64 + SPARE;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let raised = Rlimit {
        current: Some(wanted),
        maximum: limit.maximum.map(|maximum| maximum.max(wanted)),
    };
    setrlimit(Resource::Nofile, raised).map_err(|error| {
        let allowed = limit.maximum.or(limit.current).unwrap_or_default();
        format!(
            "{connections} connections need {wanted} open files and this process may have {allowed}: {error}. \
             Raise the hard limit (`ulimit -Hn {wanted}` as root, LimitNOFILE= in systemd) or ask for fewer"
        )
    })
}
