//! What a person types: the lines of standard input.
//!
//! Owns the thread that reads them. Invariant: a terminal is read only while this process is in its foreground, because
//! the system stops a process that reads it from the background. After `fg`, lines are read again. Called by `talk`.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    os::fd::AsFd,
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::getpgrp,
    termios::tcgetpgrp,
};
use tokio::sync::mpsc;

/// How often a process in the background checks whether it is in the foreground again.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Reads lines from now on. The channel closes at the end of the input, or after an error.
pub fn lines() -> io::Result<mpsc::Receiver<io::Result<String>>> {
    let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let (sender, receiver) = mpsc::channel(1);
    thread::Builder::new()
        .name("typing".to_owned())
        .spawn(move || hand_over(BufReader::new(stdin), &sender))?;
    Ok(receiver)
}

fn hand_over(mut input: BufReader<File>, to: &mpsc::Sender<io::Result<String>>) {
    while let Some(line) = next_line(&mut input).transpose() {
        let last = line.is_err();
        if to.blocking_send(line).is_err() || last {
            return;
        }
    }
}

fn next_line(input: &mut BufReader<File>) -> io::Result<Option<String>> {
    if input.buffer().is_empty() {
        wait_until_readable(input.get_ref())?;
    }
    let mut line = String::new();
    let read = input.read_line(&mut line)?;
    Ok((read > 0).then_some(line))
}

/// Waits until there is something to read, and this process may read it.
fn wait_until_readable(input: &File) -> io::Result<()> {
    loop {
        let mut polled = [PollFd::new(input, PollFlags::IN)];
        match poll(&mut polled, None) {
            Ok(_) if is_in_foreground(&polled[0]) => return Ok(()),
            Ok(_) => thread::sleep(LOOK_EVERY),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Input that is not our terminal, such as a pipe, may be read at any time.
fn is_in_foreground(input: impl AsFd) -> bool {
    tcgetpgrp(input).map_or(true, |foreground| foreground == getpgrp())
}
