//! Replies that come in parts.

#![cfg(not(loom))]

mod common;

use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use common::parts::{self, fills_the_window, part};
use common::{Child, Stage, halt, kernel, listen, play, say, until};
use nix::sys::wait::{WaitStatus, waitpid};
use sysv_channel::SendError;
use sysv_channel::codec::Bytes;
use sysv_channel::rpc::{
    CallError, Client, ClientOptions, ReplyError, ReplyStream, Request, Responder, Server,
    ServerOptions,
};

/// Longer than a test may take.
const FOR_EVER: Duration = Duration::from_secs(1000);
const SHORT: Duration = Duration::from_millis(20);

type Counter = Server<u64, Bytes>;
type Reader = Client<u64, Bytes>;

/// The parts that this binary plays when it is started as a child.
#[test]
fn child() {
    play(|role, arguments| {
        let name = arguments[0];
        match role {
            // Sends as many parts as it is asked for, without end for zero.
            "server" => {
                let server = Counter::bind(name).unwrap();
                say("bound");
                for request in server.incoming() {
                    let (parts, port) = request.unwrap().into_parts();
                    thread::spawn(move || send(port, parts, 1000));
                }
            }
            // Says how much went whenever a part has to wait, and goes on when it is told to.
            "counting server" => {
                let options = ServerOptions::new().reply_capacity(16 << 10);
                let server: Counter = options.bind(name).unwrap();
                say("bound");
                let (len, mut port) = receive(&server);
                thread::spawn(move || {
                    let mut sent = 0;
                    loop {
                        match port.part_timeout(&part(sent, len as usize), SHORT) {
                            Ok(()) => sent += 1,
                            Err(ReplyError::WouldWait { .. }) => {
                                say(sent);
                                listen();
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
                server.recv().unwrap();
            }
            "reader" => {
                let client = Reader::connect(name).unwrap();
                let mut stream = client.stream(&0).unwrap();
                assert_eq!(stream.next().unwrap().unwrap(), part(0, 1000));
                say("reads");
                match arguments[1] {
                    "halts" => halt("one"),
                    "drops" => {
                        drop(stream);
                        halt("dropped");
                    }
                    "goes on" => {
                        listen();
                        for (number, next) in stream.enumerate() {
                            assert_eq!(next.unwrap(), part(number as u64 + 1, 1000));
                        }
                    }
                    _ => unreachable!(),
                }
            }
            _ => unreachable!("no such role: {role}"),
        }
    });
}

fn send(mut port: Responder<Bytes>, parts: u64, len: usize) -> Result<(), ReplyError> {
    let last = if parts == 0 { u64::MAX } else { parts };
    (0..last).try_for_each(|number| port.part(&part(number, len)))?;
    port.finish()
}

fn started(stage: &Stage, role: &str, arguments: &[&str], line: &str) -> Child {
    let mut child = stage.child(role, arguments);
    child.expect(line);
    child
}

fn pair(stage: &Stage) -> (Counter, Reader) {
    // Where the window is not cut to a small ring.
    let server = ServerOptions::new().reply_capacity(1 << 20).bind(stage.name()).unwrap();
    let client = ClientOptions::new().deadline(FOR_EVER).connect(stage.name()).unwrap();
    (server, client)
}

fn receive(server: &Counter) -> (u64, Responder<Bytes>) {
    server.recv().unwrap().unwrap().into_parts()
}

/// Sends parts until the next would have to wait; how many went.
fn fill(port: &mut Responder<Bytes>, len: usize) -> u64 {
    let would_wait = |error: &ReplyError| matches!(error, ReplyError::WouldWait { .. });
    parts::fill(len, |part| port.try_part(part), would_wait)
}

/// The next part, on the server's own thread: what found no room in the ring goes while it looks for requests.
fn next(
    stream: &mut ReplyStream<u64, Bytes>,
    server: &Counter,
) -> Option<Result<Bytes, CallError>> {
    loop {
        match stream.try_next() {
            Poll::Ready(next) => return next,
            Poll::Pending => assert!(server.try_recv().unwrap_err().is_empty()),
        }
    }
}

fn is_over<T>(next: Poll<Option<T>>) -> bool {
    matches!(next, Poll::Ready(None))
}

#[test]
fn parts_arrive_in_order_and_whole_however_long_and_many() {
    let stage = Stage::new("in order");
    let _server = started(&stage, "server", &[], "bound");
    let client = Reader::connect(stage.name()).unwrap();
    for parts in [1, 2, 10, 3000] {
        let got: Vec<_> = client.stream(&parts).unwrap().map(Result::unwrap).collect();
        assert_eq!(got.len() as u64, parts);
        for (number, bytes) in got.into_iter().enumerate() {
            assert_eq!(bytes, part(number as u64, 1000));
        }
    }
    // On the server's own thread, and longer than rings and windows are.
    for capacity in [4096, 1 << 20] {
        let stage = Stage::new("long parts");
        let options = ServerOptions::new().reply_capacity(capacity);
        let server: Counter = options.bind(stage.name()).unwrap();
        let closer = server.closer();
        let serving = thread::spawn(move || {
            for request in server.incoming() {
                let (len, port) = request.unwrap().into_parts();
                send(port, 20, len as usize).unwrap();
            }
        });
        let client = Reader::connect(stage.name()).unwrap();
        for len in [8, 3000, 9000, 70_000, 300_000, 2_000_000] {
            let mut number = 0;
            for next in client.stream(&len).unwrap() {
                assert!(next.unwrap() == part(number, len as usize), "{number} of {len}");
                number += 1;
            }
            assert_eq!(number, 20);
        }
        closer.close();
        serving.join().unwrap();
    }
}

#[test]
fn the_reply_is_the_last_part_and_any_call_can_be_read_as_a_stream() {
    let stage = Stage::new("reply last");
    let (server, client) = pair(&stage);
    let mut stream = client.stream(&1).unwrap();
    assert_eq!(stream.try_next(), Poll::Pending);
    assert_eq!(stream.next_timeout(SHORT), Poll::Pending);
    let (_, mut port) = receive(&server);
    assert!(port.is_stream() && !port.is_cancelled());
    port.part(&part(0, 8)).unwrap();
    assert_eq!(stream.try_next(), Poll::Ready(Some(Ok(part(0, 8)))));
    port.reply(&part(1, 8)).unwrap();
    assert_eq!(stream.next(), Some(Ok(part(1, 8))));
    assert_eq!(stream.next(), None);
    assert!(is_over(stream.try_next()));

    // Without parts, and with neither parts nor a reply.
    let stream = client.stream(&2).unwrap();
    receive(&server).1.reply(&part(7, 8)).unwrap();
    assert_eq!(stream.map(Result::unwrap).collect::<Vec<_>>(), [part(7, 8)]);
    let stream = client.stream(&2).unwrap();
    receive(&server).1.finish().unwrap();
    assert_eq!(stream.count(), 0);
    let mut stream = client.stream(&2).unwrap();
    drop(receive(&server));
    assert!(matches!(stream.next(), Some(Err(CallError::Dropped { .. }))));
    assert_eq!(stream.next(), None);

    // A caller that reads no stream takes the reply alone.
    let mut call = client.start(&3).unwrap();
    let (_, mut port) = receive(&server);
    assert!(!port.is_stream());
    (0..10_000).for_each(|number| port.try_part(&part(number, 1000)).unwrap());
    assert_eq!(call.try_wait().unwrap(), None);
    port.reply(&part(9, 8)).unwrap();
    assert_eq!(call.try_wait().unwrap(), Some(part(9, 8)));
    let call = client.start(&3).unwrap();
    receive(&server).1.finish().unwrap();
    assert!(matches!(call.wait(), Err(CallError::Dropped { .. })));
}

#[test]
fn a_reader_that_does_not_take_holds_up_its_own_stream_alone() {
    let stage = Stage::new("back-pressure");
    let (server, client) = pair(&stage);
    let other = Reader::connect(stage.name()).unwrap();
    let mut slow = client.stream(&1).unwrap();
    let (_, mut slow_port) = receive(&server);
    let sent = fill(&mut slow_port, 1000);
    assert!(fills_the_window(sent), "{sent}");
    assert!(matches!(
        slow_port.part_timeout(&part(0, 8), SHORT),
        Err(ReplyError::WouldWait { .. })
    ));
    // Other streams and calls, of this client and of another.
    let mut beside = client.stream(&2).unwrap();
    let (_, mut beside_port) = receive(&server);
    let mut theirs = other.stream(&3).unwrap();
    let (_, mut their_port) = receive(&server);
    for number in 0..2000 {
        for (port, stream) in [(&mut beside_port, &mut beside), (&mut their_port, &mut theirs)] {
            port.try_part(&part(number, 500)).unwrap();
            assert_eq!(next(stream, &server), Some(Ok(part(number, 500))));
        }
        if number % 100 == 0 {
            let mut call = client.start(&4).unwrap();
            receive(&server).1.reply(&part(4, 8)).unwrap();
            until(|| {
                assert!(server.try_recv().unwrap_err().is_empty());
                call.try_wait().unwrap() == Some(part(4, 8))
            });
        }
    }
    assert!(matches!(slow_port.try_part(&part(0, 8)), Err(ReplyError::WouldWait { .. })));
    // It goes on when its reader does.
    for number in 0..sent {
        assert_eq!(next(&mut slow, &server), Some(Ok(part(number, 1000))));
    }
    assert_eq!(slow.try_next(), Poll::Pending);
    assert_eq!(fill(&mut slow_port, 1000), sent);
}

#[test]
fn a_handler_waits_for_its_reader_on_any_thread_and_goes_on_with_it() {
    for elsewhere in [false, true] {
        let stage = Stage::new("waits");
        let (server, client) = pair(&stage);
        let closer = server.closer();
        let (tell, told) = mpsc::channel();
        let serving = thread::spawn(move || {
            let handle = move |request: Request<u64, Bytes>, tell: &mpsc::Sender<u64>| {
                let (parts, mut port) = request.into_parts();
                for number in 0..parts {
                    port.part(&part(number, 1000)).unwrap();
                    tell.send(number).unwrap();
                }
                port.finish().unwrap();
            };
            let mut handlers = Vec::new();
            for request in server.incoming() {
                let (request, tell) = (request.unwrap(), tell.clone());
                match elsewhere {
                    true => handlers.push(thread::spawn(move || handle(request, &tell))),
                    false => handle(request, &tell),
                }
            }
            handlers.into_iter().for_each(|handler| handler.join().unwrap());
        });
        let mut stream = client.stream(&5000).unwrap();
        let mut sent = 0;
        // It waits when it has sent no more for a while, and is about to wait before.
        while !fills_the_window(sent) || told.recv_timeout(SHORT).is_ok() {
            if !fills_the_window(sent) {
                assert_eq!(told.recv().unwrap(), sent);
            }
            sent += 1;
        }
        assert!(fills_the_window(sent), "{sent}");
        for number in 0..5000 {
            assert_eq!(stream.next(), Some(Ok(part(number, 1000))));
        }
        assert_eq!(stream.next(), None);
        assert_eq!(told.iter().take(5000 - sent as usize).last(), Some(4999));
        closer.close();
        serving.join().unwrap();
    }
}

#[test]
fn many_streams_of_one_client_are_read_at_once_and_from_many_threads() {
    let stage = Stage::new("many");
    let _server = started(&stage, "server", &[], "bound");
    let client = Reader::connect(stage.name()).unwrap();
    let mut streams: Vec<_> = (1..=31).map(|parts| client.stream(&(parts * 40)).unwrap()).collect();
    assert!(matches!(client.stream(&1), Err(CallError::TooManyStreams { most: 31, .. })));
    let mut taken = [0; 31];
    let mut over = 0;
    while over < 16 {
        for (at, stream) in streams.iter_mut().enumerate().take(16) {
            match stream.next() {
                Some(next) => {
                    assert_eq!(next.unwrap(), part(taken[at], 1000));
                    taken[at] += 1;
                }
                None if taken[at] == (at as u64 + 1) * 40 => {
                    over += 1;
                    taken[at] += 1;
                }
                None => {}
            }
        }
    }
    thread::scope(|scope| {
        for (at, stream) in streams.drain(..).enumerate().skip(16) {
            scope.spawn(move || {
                let mut number = 0;
                for next in stream {
                    assert_eq!(next.unwrap(), part(number, 1000));
                    number += 1;
                }
                assert_eq!(number, (at as u64 + 1) * 40);
            });
        }
    });
    // Their places are free again.
    for _ in 0..100 {
        assert_eq!(client.stream(&3).unwrap().count(), 3);
        drop(client.stream(&0).unwrap());
    }
}

#[test]
fn dropping_a_stream_cancels_it_and_a_handler_that_waits_learns_of_it() {
    for elsewhere in [false, true] {
        let stage = Stage::new("dropped");
        let (server, client) = pair(&stage);
        let closer = server.closer();
        let (tell, told) = mpsc::channel();
        let serving = thread::spawn(move || {
            let mut handlers = Vec::new();
            for request in server.incoming() {
                let (_, port) = request.unwrap().into_parts();
                let tell = tell.clone();
                let handle = move || {
                    tell.send(None).unwrap();
                    tell.send(Some(send(port, 0, 1000))).unwrap();
                };
                match elsewhere {
                    true => handlers.push(thread::spawn(handle)),
                    false => handle(),
                }
            }
            handlers.into_iter().for_each(|handler| handler.join().unwrap());
        });
        for taken in [0, 1, 1000] {
            let mut stream = client.stream(&0).unwrap();
            for number in 0..taken {
                assert_eq!(stream.next(), Some(Ok(part(number, 1000))));
            }
            // Also of many more than the calls of which the server is told one by one.
            let others: Vec<_> =
                (0..if elsewhere { 20 } else { 0 }).map(|_| client.stream(&0).unwrap()).collect();
            let dropped = 1 + others.len();
            // What no handler has is not started, once it is cancelled.
            (0..dropped).for_each(|_| assert!(told.recv().unwrap().is_none()));
            drop((stream, others));
            for _ in 0..dropped {
                let error = told.recv().unwrap().unwrap().unwrap_err();
                assert!(matches!(error, ReplyError::ClientGone { .. }), "{error}");
            }
        }
        closer.close();
        serving.join().unwrap();
    }
}

#[test]
fn deadlines_are_of_each_part_or_of_the_whole_stream() {
    let stage = Stage::new("deadlines");
    let server = Counter::bind(stage.name()).unwrap();
    let client: Reader = ClientOptions::new().deadline(SHORT).connect(stage.name()).unwrap();
    let mut stream = client.stream(&1).unwrap();
    let (_, mut port) = receive(&server);
    assert_eq!(port.remaining(), None);
    // In time each, and longer than that in all.
    for number in 0..5 {
        assert_eq!(stream.next_timeout(SHORT / 2), Poll::Pending);
        port.part(&part(number, 8)).unwrap();
        assert_eq!(stream.next(), Some(Ok(part(number, 8))));
    }
    let late = stream.next().unwrap().unwrap_err();
    assert!(late.is_timeout() && late.to_string().contains("5 of its parts came"), "{late}");
    assert!(matches!(late, CallError::Unfinished { parts: 5, .. }), "{late}");
    assert_eq!(stream.next(), None);
    assert!(matches!(port.part(&part(0, 8)), Err(ReplyError::ClientGone { .. })));

    let whole = |timeout| client.stream_timeout(&1, timeout).unwrap();
    let mut stream: ReplyStream<_, _> = whole(SHORT);
    let (_, mut port) = receive(&server);
    assert!(port.remaining().unwrap() <= SHORT);
    port.part(&part(0, 8)).unwrap();
    assert_eq!(stream.next(), Some(Ok(part(0, 8))));
    let late = match stream.next_timeout(FOR_EVER) {
        Poll::Ready(Some(Err(late))) => late,
        other => panic!("{other:?}"),
    };
    assert!(matches!(late, CallError::Unfinished { parts: 1, .. }), "{late}");
    assert!(port.is_cancelled());
    let mut stream = whole(SHORT);
    let port = receive(&server).1;
    let late = stream.next().unwrap().unwrap_err();
    assert!(matches!(late, CallError::Timeout { received: true, .. }), "{late}");
    assert!(port.is_cancelled());
    // A handler that waits is told of it too.
    let _stream = whole(SHORT);
    let (_, mut port) = receive(&server);
    fill(&mut port, 1000);
    assert!(matches!(port.part(&part(0, 8)), Err(ReplyError::ClientGone { .. })));
    let mut stream = whole(SHORT);
    let late = stream.next().unwrap().unwrap_err();
    assert!(matches!(late, CallError::Timeout { received: false, .. }), "{late}");
    assert!(server.try_recv().unwrap_err().is_empty());
}

#[test]
fn the_death_of_the_server_ends_a_stream_behind_all_that_came() {
    let stage = Stage::new("server killed");
    let mut server = Some(started(&stage, "server", &[], "bound"));
    let client = Reader::connect(stage.name()).unwrap();
    let mut streams = [&0, &0, &7].map(|parts| client.stream(parts).unwrap());
    // Until the third has all, nothing is taken of the others.
    assert!(streams[2].by_ref().take(3).all(|next| next.is_ok()));
    until(|| {
        let parts: Vec<_> = std::iter::from_fn(|| match streams[2].try_next() {
            Poll::Ready(next) => next,
            Poll::Pending => None,
        })
        .collect();
        parts.len() == 4 || streams[2].next().is_none()
    });
    drop(server.take());
    for stream in &mut streams[..2] {
        let mut number = 0;
        let error = loop {
            match stream.next().unwrap() {
                Ok(next) => assert_eq!(next, part(number, 1000)),
                Err(error) => break error,
            }
            number += 1;
        };
        assert!(matches!(error, CallError::ServerDied { received: true, .. }), "{error}");
        assert_eq!(stream.next(), None);
    }
    // The same client reads of the next server.
    let _server = started(&stage, "server", &[], "bound");
    assert_eq!(client.stream(&5).unwrap().count(), 5);
}

/// Negative: a part that finds no room is kept by the server and not waited for, as a reply is, and some of those
/// that were sent never come; in the next test, they do not come while the server does something else.
#[test]
fn every_part_that_was_sent_comes_before_word_of_the_servers_death() {
    // In one piece, and in several.
    for (len, taken) in [(8, 50), (1000, 5), (9000, 1), (70_000, 0)] {
        let stage = Stage::new("all that was sent");
        let mut server = started(&stage, "counting server", &[], "bound");
        let client = Reader::connect(stage.name()).unwrap();
        let mut stream = client.stream(&len).unwrap();
        let first: u64 = server.hear().parse().unwrap();
        assert!(first >= taken, "{first}");
        (0..taken).for_each(|it| assert_eq!(stream.next(), Some(Ok(part(it, len as usize)))));
        server.tell("on");
        let sent: u64 = server.hear().parse().unwrap();
        server.kill();
        for number in taken..sent {
            let next = stream.next();
            assert!(next == Some(Ok(part(number, len as usize))), "{number} of {sent}, {len}");
        }
        let error = stream.next().unwrap().unwrap_err();
        assert!(matches!(error, CallError::ServerDied { .. }), "{error}");
    }
}

#[test]
fn a_stream_goes_on_while_the_server_does_something_else() {
    for (len, parts) in [(1000, 300), (40_000, 10)] {
        let stage = Stage::new("busy");
        let server: Counter = ServerOptions::new().reply_capacity(4096).bind(stage.name()).unwrap();
        let client = Reader::connect(stage.name()).unwrap();
        let mut stream = client.stream(&parts).unwrap();
        let (parts, port) = receive(&server);
        let handler = thread::spawn(move || send(port, parts, len));
        for number in 0..parts {
            assert_eq!(stream.next(), Some(Ok(part(number, len))));
        }
        assert_eq!(stream.next(), None);
        handler.join().unwrap().unwrap();
    }
}

/// Negative: the server is asked first how the stream ended.
#[test]
fn a_handler_that_gives_up_at_the_deadline_does_not_hide_it() {
    let stage = Stage::new("late");
    let _server = started(&stage, "server", &[], "bound");
    let client = Reader::connect(stage.name()).unwrap();
    for _ in 0..20 {
        let error = client.stream_timeout(&0, SHORT).unwrap().find_map(Result::err).unwrap();
        assert!(error.is_timeout(), "{error}");
    }
}

#[test]
fn a_reader_that_is_killed_or_stopped_or_drops_its_stream_holds_up_no_other() {
    let stage = Stage::new("readers");
    let (server, client) = pair(&stage);
    let closer = server.closer();
    let (tell, told) = mpsc::channel();
    let serving = thread::spawn(move || {
        let mut handlers = Vec::new();
        for request in server.incoming() {
            let (parts, port) = request.unwrap().into_parts();
            let tell = tell.clone();
            handlers.push(thread::spawn(move || tell.send(send(port, parts, 1000)).unwrap()));
        }
        handlers.into_iter().for_each(|handler| handler.join().unwrap());
    });
    let others = || assert_eq!(client.stream(&1000).unwrap().count(), 1000);
    let gone = || {
        let error = told.recv().unwrap().unwrap_err();
        assert!(matches!(error, ReplyError::ClientGone { .. }), "{error}");
    };
    let killed = started(&stage, "reader", &["halts"], "reads");
    others();
    assert!(told.recv().unwrap().is_ok());
    killed.kill();
    gone();
    let _dropped = started(&stage, "reader", &["drops"], "reads");
    gone();
    let mut stopped = started(&stage, "reader", &["goes on"], "reads");
    stopped.stop();
    others();
    assert!(told.recv().unwrap().is_ok());
    stopped.go_on();
    stopped.tell("go on");
    stopped.stop();
    others();
    assert!(told.recv().unwrap().is_ok());
    drop(stopped);
    gone();
    closer.close();
    serving.join().unwrap();
}

#[test]
fn a_server_that_is_closed_goes_on_with_its_streams_for_its_drain() {
    for takes in [true, false] {
        for elsewhere in [true, false] {
            let stage = Stage::new("closed");
            let drain = if takes { FOR_EVER } else { SHORT };
            let server: Counter = ServerOptions::new().drain(drain).bind(stage.name()).unwrap();
            let client: Reader =
                ClientOptions::new().deadline(FOR_EVER).connect(stage.name()).unwrap();
            let closer = server.closer();
            let mut stream = client.stream(&2000).unwrap();
            let serving = thread::spawn(move || {
                let (parts, port) = receive(&server);
                let send = move || send(port, parts, 1000);
                match elsewhere {
                    true => {
                        let handler = thread::spawn(send);
                        server.incoming().for_each(drop);
                        drop(server);
                        handler.join().unwrap()
                    }
                    false => send(),
                }
            });
            assert_eq!(stream.next(), Some(Ok(part(0, 1000))));
            closer.close();
            if takes {
                assert_eq!(stream.filter(Result::is_ok).count(), 1999);
                serving.join().unwrap().unwrap();
                continue;
            }
            // It is not read: the handler is told, and the reader when it looks.
            let error = serving.join().unwrap().unwrap_err();
            assert!(
                matches!(error, ReplyError::Closing { .. } | ReplyError::ClientGone { .. }),
                "{error}"
            );
            let last = stream.last().unwrap().unwrap_err();
            assert!(matches!(last, CallError::ServerDied { received: true, .. }), "{last}");
        }
    }
}

#[test]
fn a_forked_child_is_told_that_the_stream_is_its_parents_each_time() {
    let stage = Stage::new("forked");
    let (server, client) = pair(&stage);
    let mut stream = client.stream(&1).unwrap();
    let (_, mut port) = receive(&server);
    let child = kernel::forked(|| {
        for _ in 0..2 {
            let next = stream.try_next();
            assert!(
                matches!(next, Poll::Ready(Some(Err(CallError::Send(SendError::Forked { .. }))))),
                "{next:?}"
            );
        }
        // An iteration over it ends.
        assert!(stream.by_ref().all(|next| next.is_err()));
        assert!(matches!(stream.try_next(), Poll::Ready(Some(Err(_)))));
    });
    assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
    port.part(&part(0, 8)).unwrap();
    port.finish().unwrap();
    assert_eq!(stream.next(), Some(Ok(part(0, 8))));
    assert_eq!(stream.next(), None);
}
