//! Two ends in virtual time, with a network between them that drops what it is told to.

use super::*;

fn place(port: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 1], port))
}

fn path(port: u16) -> Path {
    Path {
        socket: 0,
        remote: place(port),
    }
}

fn end(side: Side, to: &[u16], now: Instant) -> Punch {
    let paths = to.iter().map(|port| path(*port)).collect();
    Punch::new(side, Seal::sample(side), Pace::FEW, paths, now)
}

/// Plays both ends until both have won or a time is over. The asking end is seen at 1, the asked one at 2; `passes` says
/// which packets get through, by direction, destination and bytes.
fn play(
    asking: &mut Punch,
    asked: &mut Punch,
    mut passes: impl FnMut(Side, u16, &[u8]) -> bool,
) -> Option<(Path, Path)> {
    let start = Instant::now();
    for millisecond in 0..4000 {
        let now = start + Duration::from_millis(millisecond);
        for _ in 0..8 {
            while let Some((to, bytes)) = asking.poll_transmit(now) {
                if to.remote.port() == 2 && passes(Side::Asking, 2, &bytes) {
                    asked.handle(path(1), &bytes, now);
                }
            }
            while let Some((to, bytes)) = asked.poll_transmit(now) {
                if to.remote.port() == 1 && passes(Side::Asked, 1, &bytes) {
                    asking.handle(path(2), &bytes, now);
                }
            }
        }
        if let (Some(one), Some(other)) = (asking.won(), asked.won()) {
            return Some((one.path, other.path));
        }
    }
    None
}

#[tokio::test(start_paused = true)]
async fn two_ends_that_know_each_other_s_places_agree_on_one_way() {
    let now = Instant::now();
    let mut asking = end(Side::Asking, &[9, 2], now);
    let mut asked = end(Side::Asked, &[1, 8], now);
    let won = play(&mut asking, &mut asked, |_, _, _| true);
    assert_eq!(won, Some((path(2), path(1))));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_nobody_named_is_learnt_from_its_hello() {
    let now = Instant::now();
    let mut asking = end(Side::Asking, &[7], now);
    let mut asked = end(Side::Asked, &[1], now);
    let won = play(&mut asking, &mut asked, |_, _, _| true);
    assert_eq!(won, Some((path(2), path(1))));
}

#[tokio::test(start_paused = true)]
async fn any_single_packet_may_be_lost() {
    // Beyond forty the play repeats itself.
    for lost in 0..40 {
        let now = Instant::now();
        let mut asking = end(Side::Asking, &[2], now);
        let mut asked = end(Side::Asked, &[1], now);
        let mut count = 0;
        let won = play(&mut asking, &mut asked, |_, _, _| {
            count += 1;
            count - 1 != lost
        });
        assert!(won.is_some(), "packet {lost}");
    }
}

#[tokio::test(start_paused = true)]
async fn half_of_all_packets_may_be_lost_when_the_hub_says_the_last_word() {
    let now = Instant::now();
    let mut asking = end(Side::Asking, &[2], now);
    let mut asked = end(Side::Asked, &[1], now);
    let mut count = 0;
    play(&mut asking, &mut asked, |_, _, bytes| {
        count += 1;
        // In pairs, so that no two that take turns are on one side; and no last word.
        let last = Seal::sample(Side::Asked)
            .read(bytes)
            .map(|packet| packet.kind)
            == Some(Kind::Settled);
        count / 2 % 2 == 0 && !last
    });
    let settled = asking.won().expect("it heard the agreement");
    assert_eq!(settled.path, path(2));
    asked.settle([0; 8]);
    assert_eq!(asked.won(), None, "that is no nomination's challenge");
    asked.settle(settled.challenge);
    assert_eq!(asked.won().map(|won| won.path), Some(path(1)));
}

#[tokio::test(start_paused = true)]
async fn a_one_way_street_wins_nothing() {
    let now = Instant::now();
    let mut asking = end(Side::Asking, &[2], now);
    let mut asked = end(Side::Asked, &[1], now);
    let won = play(&mut asking, &mut asked, |side, _, _| side == Side::Asking);
    assert_eq!((won, asking.won(), asked.won()), (None, None, None));
    asked.settle([0; 8]);
    assert_eq!(asked.won(), None, "nobody nominated");
}

#[tokio::test(start_paused = true)]
async fn stray_packets_mirrors_and_replays_from_elsewhere_do_not_win() {
    let now = Instant::now();
    let mut asking = end(Side::Asking, &[2], now);
    let mut asked = end(Side::Asked, &[1], now);
    let (_, hello) = asking.poll_transmit(now).expect("a hello is due");
    asking.handle(path(2), &hello, now);
    asking.handle(path(2), b"punch", now);
    asking.handle(path(2), &[0; LENGTH], now);
    assert!(asking.answers.is_empty(), "none of these is answered");
    asked.handle(path(1), &hello, now);
    let (_, heard) = asked.poll_transmit(now).expect("an answer");
    let heard = if Seal::sample(Side::Asking)
        .read(&heard)
        .map(|packet| packet.kind)
        == Some(Kind::Heard)
    {
        heard
    } else {
        asked.poll_transmit(now).expect("an answer").1
    };
    asking.handle(path(66), &heard, now);
    assert_eq!(
        asking.state,
        State::Looking,
        "the challenge was sent elsewhere"
    );
    asking.handle(path(2), &heard, now);
    assert!(matches!(asking.state, State::Nominating { .. }));
}

/// An asked end to which the way to 1 has proved itself.
fn proved(now: Instant) -> Punch {
    let mut asked = end(Side::Asked, &[1], now);
    let heard = Seal::sample(Side::Asking).write(Kind::Heard, asked.challenge(path(1)));
    asked.handle(path(1), &heard, now);
    asked
}

/// The kinds of all packets that are due, and where they go.
fn due(punch: &mut Punch, now: Instant) -> Vec<(u16, Kind)> {
    let other = Seal::sample(punch.side.other());
    let all = std::iter::from_fn(|| punch.poll_transmit(now));
    let read = all.map(|(to, bytes)| (to.remote.port(), other.read(&bytes).expect("sealed").kind));
    read.collect()
}

#[tokio::test(start_paused = true)]
async fn a_nomination_counts_on_a_way_that_has_proved_itself_and_calls_for_a_hello_on_another() {
    let now = Instant::now();
    let nominate = Seal::sample(Side::Asking).write(Kind::Nominate, [3; 8]);
    let mut asked = end(Side::Asked, &[1], now);
    due(&mut asked, now);
    // As recorded on the way, or of a peer whose hello got here while none of this end got there.
    asked.handle(path(1), &nominate, now);
    assert_eq!(due(&mut asked, now), [(1, Kind::Hello)]);
    asked.settle([3; 8]);
    assert_eq!(asked.won(), None, "nothing was agreed to");
    let heard = Seal::sample(Side::Asking).write(Kind::Heard, asked.challenge(path(1)));
    asked.handle(path(66), &heard, now);
    asked.handle(path(66), &nominate, now);
    assert_eq!(due(&mut asked, now), [], "a stranger is not even answered");
    asked.handle(path(1), &heard, now);
    asked.handle(path(1), &nominate, now);
    assert_eq!(due(&mut asked, now), [(1, Kind::Agreed)]);
}

#[tokio::test(start_paused = true)]
async fn the_last_words_name_the_nomination_and_one_that_is_repeated_late_changes_nothing() {
    let now = Instant::now();
    let asking = Seal::sample(Side::Asking);
    let mut asked = proved(now);
    let hello = asking.write(Kind::Hello, [9; 8]);
    asked.handle(path(2), &hello, now);
    let heard = asking.write(Kind::Heard, asked.challenge(path(2)));
    asked.handle(path(2), &heard, now);
    asked.handle(path(1), &asking.write(Kind::Nominate, [3; 8]), now);
    asked.handle(path(2), &asking.write(Kind::Nominate, [4; 8]), now);
    asked.handle(path(1), &asking.write(Kind::Nominate, [3; 8]), now);
    for (from, challenge) in [(1, [4; 8]), (2, [3; 8]), (1, [0; 8])] {
        asked.handle(path(from), &asking.write(Kind::Settled, challenge), now);
    }
    assert_eq!(asked.state, State::Agreed, "none of these names its way");
    asked.settle([4; 8]);
    due(&mut asked, now);
    assert_eq!(asked.won().map(|won| won.path), Some(path(2)));
    asked.handle(path(1), &asking.write(Kind::Nominate, [5; 8]), now);
    assert_eq!(due(&mut asked, now), [], "it is settled");
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_is_sent_again_from_elsewhere_is_not_answered_and_calls_for_few() {
    let now = Instant::now();
    let mut asked = end(Side::Asked, &[1], now);
    let hello = Seal::sample(Side::Asking).write(Kind::Hello, [7; 8]);
    asked.handle(path(1), &hello, now);
    due(&mut asked, now);
    for port in 100..200 {
        asked.handle(path(port), &hello, now);
    }
    assert_eq!(due(&mut asked, now), [], "it came from one place");
    for _ in 0..100 {
        asked.handle(path(1), &hello, now);
    }
    let hellos = due(&mut asked, now);
    let hellos = hellos.iter().filter(|(_, kind)| *kind == Kind::Hello);
    assert!(hellos.count() <= usize::from(MOST_CALLED));
}

#[tokio::test(start_paused = true)]
async fn what_overtakes_the_last_word_is_kept_and_a_stranger_s_is_not() {
    let now = Instant::now();
    let mut asked = proved(now);
    asked.handle(path(1), b"too early", now);
    let asking = Seal::sample(Side::Asking);
    asked.handle(path(1), &asking.write(Kind::Nominate, [3; 8]), now);
    asked.handle(path(5), b"a stranger", now);
    asked.handle(path(1), b"data", now);
    let bye = asking.write(Kind::Bye, [0; 8]);
    asked.handle(path(1), &bye, now);
    asked.settle([3; 8]);
    due(&mut asked, now);
    assert_eq!(asked.take_early(), [b"data".to_vec(), bye.to_vec()]);
}

#[tokio::test(start_paused = true)]
async fn probes_are_paced_and_bounded() {
    let now = Instant::now();
    let paths: Vec<Path> = (1..=2000).map(path).collect();
    let mut prober = Punch::new(
        Side::Asking,
        Seal::sample(Side::Asking),
        Pace::MANY,
        paths,
        now,
    );
    let mut per_second = Vec::new();
    for second in 0..6_u64 {
        let before = prober.hellos();
        for millisecond in 0..1000 {
            let at = now + Duration::from_millis(second * 1000 + millisecond);
            while prober.poll_transmit(at).is_some() {}
        }
        per_second.push(prober.hellos() - before);
    }
    assert!(per_second.iter().all(|sent| *sent <= 500), "{per_second:?}");
    assert_eq!(prober.hellos(), 1024);
    assert_eq!(prober.deadline(), None);
}
