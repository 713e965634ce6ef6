//! Live capture on the loopback interface; needs the right to capture and is skipped without it.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::live::{self, Live, interfaces};
use super::*;
use crate::time::Timestamp;

fn listen(filter: &str, stop: &Arc<AtomicBool>) -> Option<Live> {
    match Live::open("lo", Some(filter), &live::Settings::default(), stop.clone()) {
        Ok(live) => Some(live),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

#[test]
fn packets_on_the_loopback_interface() {
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = receiver.local_addr().expect("bound").port();
    let stop = Arc::new(AtomicBool::new(false));
    let Some(mut live) = listen(&format!("udp port {port}"), &stop) else { return };
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a port");
    for number in 0..50_u8 {
        sender.send_to(&[number; 100], ("127.0.0.1", port)).expect("sent");
    }
    let (mut seen, mut last) = (Vec::new(), Timestamp::ZERO);
    loop {
        match live.advance().expect("the interface stays") {
            Advance::Frame => {
                let frame = live.frame();
                assert_eq!((frame.link.0, frame.data.len(), frame.original_length), (1, 142, 142));
                assert!(frame.time >= last && frame.time > Timestamp::from_parts(1_700_000_000, 0));
                last = frame.time;
                seen.push(frame.data[141]);
                if seen.len() == 50 {
                    assert!(seen.iter().copied().eq(0..50));
                    sender.send_to(&[50; 100], ("127.0.0.1", port)).expect("sent");
                    stop.store(true, Ordering::Relaxed); // that packet was captured before: it is still given
                }
            }
            Advance::Idle(time) => {
                assert!(time >= last);
                last = time;
            }
            Advance::Secrets => panic!("an interface has no secrets"),
            Advance::End => break,
        }
    }
    assert_eq!(seen.len(), 51);
    assert_eq!(live.advance(), Ok(Advance::End));
    let mut counters = Counters::new();
    live.report(&mut counters);
    assert_eq!(counters.value(Counter::KernelDrops), 0);
}

#[test]
fn readers_share_what_an_interface_receives() {
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = receiver.local_addr().expect("bound").port();
    let stop = Arc::new(AtomicBool::new(false));
    let settings = live::Settings { readers: Some(3), ..live::Settings::default() };
    let opened = Live::open_several("lo", Some(&format!("udp port {port}")), &settings, &stop);
    let (mut readers, note) = match opened {
        Ok(opened) => opened,
        Err(error) => return println!("skipped: {error}"),
    };
    if let Some(note) = note {
        assert_eq!(readers.len(), 1);
        return println!("skipped: {note}");
    }
    assert_eq!(readers.len(), 3);
    let senders: Vec<_> = (0..40).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a port")).collect();
    for number in 0..5_u8 {
        for sender in &senders {
            sender.send_to(&[number; 100], ("127.0.0.1", port)).expect("sent");
            let back = sender.local_addr().expect("bound");
            receiver.send_to(&[number; 100], back).expect("sent");
        }
    }
    stop.store(true, Ordering::Relaxed); // all that was captured before; each reader ends by itself
    let (mut counters, mut homes) = (Counters::new(), std::collections::BTreeMap::new());
    let (mut seen, mut with_some) = (0, 0);
    for (number, live) in readers.iter_mut().enumerate() {
        let before = seen;
        while let Advance::Frame = live.advance().expect("the interface stays") {
            let data = live.frame().data.to_vec();
            let mut ports = [&data[34..36], &data[36..38]].map(<[u8]>::to_vec);
            ports.sort();
            assert_eq!(*homes.entry(ports).or_insert(number), number, "both directions of a flow have one reader");
            seen += 1;
        }
        with_some += usize::from(seen > before);
        let mut counted = Counters::new();
        live.report(&mut counted);
        counters.merge(&counted);
    }
    assert_eq!((seen, homes.len()), (400, 40));
    assert!(with_some > 1, "all to one reader");
    assert_eq!(counters.value(Counter::Readers), 3);
    let all = u64::from(live::Settings::default().buffer_bytes);
    assert!((all - 2..=all).contains(&counters.value(Counter::KernelBufferBytes)));
}

#[test]
fn sockets_of_another_kind_do_not_share() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    assert!(super::super::fanout::Group::found(&socket).is_err());
}

#[test]
fn a_quiet_interface_tells_its_time_and_stops() {
    let stop = Arc::new(AtomicBool::new(false));
    let Some(mut live) = listen("udp port 1 and udp port 2", &stop) else { return };
    let Ok(Advance::Idle(first)) = live.advance() else { panic!("a packet of two ports at once") };
    let Ok(Advance::Idle(second)) = live.advance() else { panic!("a packet of two ports at once") };
    assert!(second > first);
    stop.store(true, Ordering::Relaxed);
    assert_eq!(live.advance(), Ok(Advance::End));
}

#[test]
fn the_any_device() {
    let stop = Arc::new(AtomicBool::new(true));
    match Live::open("any", None, &live::Settings::default(), stop) {
        Ok(mut live) => while live.advance() != Ok(Advance::End) {},
        Err(error) => println!("skipped: {error}"),
    }
}

#[test]
fn errors_say_what_to_do() {
    let stop = Arc::new(AtomicBool::new(false));
    let open = |name: &str, filter| Live::open(name, filter, &live::Settings::default(), stop.clone()).err();
    let error = open("no-such-iface", None).expect("no such interface");
    assert!(error.reason.contains("apitap interfaces") || error.reason.contains("setcap"), "{error}");
    if let Some(error) = open("lo", Some("tcp prot 80")) {
        assert!(error.reason.contains("filter") || error.reason.contains("setcap"), "{error}");
    } else {
        panic!("that is no filter");
    }
}

#[test]
fn the_loopback_interface_is_listed() {
    match interfaces() {
        Ok(list) => {
            let lo = list.iter().find(|interface| interface.loopback);
            assert!(list.is_empty() || lo.is_some_and(|lo| lo.up), "{list:?}");
        }
        Err(error) => println!("skipped: {error}"),
    }
}

#[test]
fn a_thread_is_kept_on_the_processors_named() {
    let own = std::thread::spawn(|| {
        let none = live::pin(&[60_000]).expect_err("no machine has so many");
        let first = none.rsplit(' ').next().and_then(|list| list.split(',').next()).and_then(|cpu| cpu.parse().ok());
        live::pin(&[first.expect("the error names those that there are")]).expect("it may be used");
        std::thread::available_parallelism().expect("known").get()
    });
    assert_eq!(own.join().expect("no panic"), 1);
}
