//! Parts of a value that take effect when the value is sent or received, and not when it is encoded
//! or decoded.
//!
//! A value may be encoded more than once for one send, or for a send that is refused, or by another
//! serializer, for a log. A reply port inside it is passed on by none of these, only by a send that
//! succeeded. So encoding says what is to be done then, and the send that encoded the value does it:
//! what the last encoding said, once, however often the value was encoded or looked at.
//! Sends may be nested, where encoding a value sends another one: each has its own parts.

use std::cell::{Cell, RefCell};
use std::mem;

use crate::codec::{Codec, EncodeError, Writer};

/// What is to be done once the value has gone, or has come.
pub(crate) type Part = Box<dyn FnOnce()>;

/// The values that a thread encodes, or decodes, in this moment.
///
/// Numbers apart from the parts themselves, which few values have: they need no destructor, and so no look
/// whether the thread has run it.
// NB: measured with a struct that holds a String: 33 ns a send by one thread, 49 with the parts beside, and
// 58 ns a value in a stream between two processors, 82 with them.
struct Transfer {
    /// How many calls are under way, one inside of the other.
    depth: Cell<usize>,
    /// How many parts they have.
    parts: Cell<usize>,
    /// The innermost call's parts are behind these, those of the calls around it.
    before: Cell<usize>,
}

impl Transfer {
    const fn new() -> Self {
        Transfer { depth: Cell::new(0), parts: Cell::new(0), before: Cell::new(0) }
    }

    /// Whether the innermost call has parts.
    #[inline]
    fn has_parts(&self) -> bool {
        self.parts.get() > self.before.get()
    }
}

#[cfg(not(loom))]
std::thread_local! {
    static GOING: Transfer = const { Transfer::new() };
    static COMING: Transfer = const { Transfer::new() };
    static TRACING: Cell<usize> = const { Cell::new(0) };
    static PARTS_GOING: RefCell<Vec<Part>> = const { RefCell::new(Vec::new()) };
    static PARTS_COMING: RefCell<Vec<Part>> = const { RefCell::new(Vec::new()) };
}

#[cfg(loom)]
loom::thread_local! {
    static GOING: Transfer = Transfer::new();
    static COMING: Transfer = Transfer::new();
    static TRACING: Cell<usize> = Cell::new(0);
    static PARTS_GOING: RefCell<Vec<Part>> = RefCell::new(Vec::new());
    static PARTS_COMING: RefCell<Vec<Part>> = RefCell::new(Vec::new());
}

#[derive(Clone, Copy)]
enum Direction {
    Out,
    In,
}

#[inline]
fn with<R>(way: Direction, action: impl FnOnce(&Transfer) -> R) -> R {
    match way {
        Direction::Out => GOING.with(action),
        Direction::In => COMING.with(action),
    }
}

/// Changes a thread's parts.
fn with_parts<R>(way: Direction, change: impl FnOnce(&mut Vec<Part>) -> R) -> R {
    let counted = |parts: &RefCell<Vec<Part>>| {
        let mut parts = parts.borrow_mut();
        (change(&mut parts), parts.len())
    };
    let (result, parts) = match way {
        Direction::Out => PARTS_GOING.with(counted),
        Direction::In => PARTS_COMING.with(counted),
    };
    with(way, |transfer| transfer.parts.set(parts));
    result
}

/// Takes the parts behind the first `before` off.
#[cold]
#[inline(never)]
fn split_off(way: Direction, before: usize) -> Vec<Part> {
    with_parts(
        way,
        |parts| if parts.len() <= before { Vec::new() } else { parts.split_off(before) },
    )
}

/// A call that encodes or decodes. Dropped, as by a panic, it forgets its parts.
struct Call {
    way: Direction,
    /// What `before` was in the call around it.
    outer: usize,
}

impl Call {
    #[inline]
    fn begin(way: Direction) -> Self {
        with(way, |transfer| {
            transfer.depth.set(transfer.depth.get() + 1);
            Call { way, outer: transfer.before.replace(transfer.parts.get()) }
        })
    }

    #[inline]
    fn has_parts(&self) -> bool {
        with(self.way, Transfer::has_parts)
    }

    /// What its parts are, now that it is over.
    #[inline]
    fn end(self) -> Vec<Part> {
        if !self.has_parts() {
            return Vec::new();
        }
        split_off(self.way, with(self.way, |transfer| transfer.before.get()))
    }
}

impl Drop for Call {
    #[inline]
    fn drop(&mut self) {
        // A model that failed has no thread any more whose values these could be.
        if cfg!(loom) && std::thread::panicking() {
            return;
        }
        let (rest, before) = with(self.way, |transfer| {
            transfer.depth.set(transfer.depth.get() - 1);
            let before = transfer.before.replace(self.outer);
            (transfer.parts.get() > before, before)
        });
        if rest {
            // Outside of the borrow: a part may hold anything.
            drop(split_off(self.way, before));
        }
    }
}

/// Why a call that sends ended with an error.
pub(crate) trait Refusal {
    /// Whether the value went nevertheless.
    fn was_sent(&self) -> bool;
}

/// Sends a value of type `T`: what its parts said is done if it went, and not if it was refused.
// NB: a type that needs no drop holds no port, and its sends pay nothing for this.
#[inline]
pub(crate) fn sending<T, R, E: Refusal>(send: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
    if !mem::needs_drop::<T>() {
        return send();
    }
    let call = Call::begin(Direction::Out);
    let sent = send();
    if call.has_parts() {
        finish(call, sent.as_ref().map_or_else(Refusal::was_sent, |_| true));
    }
    sent
}

/// Does what the parts of a call said, if its value went.
#[cold]
#[inline(never)]
fn finish(call: Call, went: bool) {
    let parts = call.end();
    if went {
        point!("port.sent");
        parts.into_iter().for_each(|part| part());
    }
}

/// Encodes a value that goes later, and says whether it has parts; nothing is done of what they say.
pub(crate) fn ahead<R>(encode: impl FnOnce() -> R) -> (R, bool) {
    let call = Call::begin(Direction::Out);
    let encoded = encode();
    let has_parts = call.has_parts();
    (encoded, has_parts)
}

/// Encodes the value that is being sent: what an earlier encoding said in this call is forgotten.
#[inline]
pub(crate) fn encode<T, C: Codec<T>>(value: &T, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    if mem::needs_drop::<T>() && GOING.with(Transfer::has_parts) {
        // Outside of the borrow.
        drop(split_off(Direction::Out, GOING.with(|going| going.before.get())));
    }
    C::encode(value, out)
}

/// Serializes a value that is being encoded for a look at it: what it says of itself is said already.
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
pub(crate) fn looking<R>(look: impl FnOnce() -> R) -> R {
    let before = GOING.with(|going| going.parts.get());
    let seen = look();
    drop(split_off(Direction::Out, before));
    seen
}

/// Has something done when the value that is being encoded has gone; `false` if none is being sent.
pub(crate) fn when_sent(part: impl FnOnce() + 'static) -> bool {
    add(Direction::Out, part)
}

/// Decodes a value, and says what is to be done once it counts as received: nothing for one that its
/// sender cannot take back, since its parts are done while it is decoded.
#[inline]
pub(crate) fn receiving<R>(may_be_taken_back: bool, decode: impl FnOnce() -> R) -> (R, Vec<Part>) {
    if !may_be_taken_back {
        return (decode(), Vec::new());
    }
    let call = Call::begin(Direction::In);
    let value = decode();
    (value, call.end())
}

/// Has something done when the value that is being decoded has come; `false` if it has already.
pub(crate) fn when_received(part: impl FnOnce() + 'static) -> bool {
    add(Direction::In, part)
}

fn add(way: Direction, part: impl FnOnce() + 'static) -> bool {
    let under_way = with(way, |transfer| transfer.depth.get()) > 0;
    if under_way {
        with_parts(way, |parts| parts.push(Box::new(part)));
    }
    under_way
}

/// Traces a type, or tries whether a value can be decoded: the values that this makes are samples and
/// copies, which lead nowhere.
pub(crate) fn tracing<R>(trace: impl FnOnce() -> R) -> R {
    struct Over;
    impl Drop for Over {
        fn drop(&mut self) {
            if cfg!(loom) && std::thread::panicking() {
                return;
            }
            TRACING.with(|depth| depth.set(depth.get() - 1));
        }
    }
    TRACING.with(|depth| depth.set(depth.get() + 1));
    let _over = Over;
    trace()
}

/// Whether what this thread decodes in this moment are samples and copies, which no sender sent.
pub(crate) fn is_tracing() -> bool {
    TRACING.with(|depth| depth.get() > 0)
}

#[cfg(all(test, not(loom), feature = "bincode"))]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::rc::Rc;
    use std::task::{Context, Poll, Waker};

    use serde::de::Deserializer;
    use serde::ser::{self, Serializer};
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::codec::Bincode;
    use crate::{Channel, SendError};

    /// Counts how often it is passed on, as a port is.
    struct Counted(Rc<Cell<u32>>);

    impl Serialize for Counted {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let count = self.0.clone();
            if !when_sent(move || count.set(count.get() + 1)) {
                return Err(ser::Error::custom("not being sent"));
            }
            // It has a size and no bytes, so that the encoder looks at the value once more.
            serializer.serialize_unit()
        }
    }

    impl<'de> Deserialize<'de> for Counted {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            <()>::deserialize(deserializer)?;
            Ok(Counted(Rc::default()))
        }
    }

    #[test]
    fn one_send_passes_a_port_on_once_however_often_it_is_encoded() {
        type Letter = (Counted, Vec<u8>);
        let options = || Channel::<Letter>::options().return_capacity(4096);
        // In the ring, where the end of the array makes some of them be encoded twice, and by messages
        // that have to grow.
        for options in [options().inline_limit(0).capacity(4096), options().inline_limit(4000)] {
            let channel = options.private().unwrap();
            let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
            for len in (0..40).map(|round| round * 97 % 1900) {
                let count = Rc::new(Cell::new(0));
                let letter = (Counted(count.clone()), vec![7; len]);
                tx.send(&letter).unwrap();
                assert_eq!(count.take(), 1, "sent with {len} bytes");
                let (_, origin) = rx.recv_from().unwrap();
                rx.send_back(origin, &letter).unwrap();
                assert_eq!(count.take(), 1, "sent back with {len} bytes");
                tx.recv_back::<Letter>().unwrap();
                assert_eq!(count.get(), 0);
            }
        }
    }

    #[test]
    fn a_task_passes_a_port_on_once_when_its_value_was_received() {
        type Letter = (Counted, Vec<u8>);
        for inline_limit in [0, 64] {
            let options = Channel::<Letter>::options().capacity(4096).inline_limit(inline_limit);
            let channel = options.private().unwrap();
            let (mut tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
            let mut context = Context::from_waker(Waker::noop());
            // The last goes in fragments, and the first poll of each finds no room.
            for len in [10, 1000, 30_000] {
                let count = Rc::new(Cell::new(0));
                let letter = (Counted(count.clone()), vec![7; len]);
                let others = (Counted(Rc::default()), vec![7; 10]);
                while tx.try_send(&others).is_ok() {}
                let mut sending = pin!(tx.send_async(&letter));
                let sent = loop {
                    let polled = sending.as_mut().poll(&mut context);
                    assert_eq!(count.get(), u32::from(polled.is_ready()), "{len} bytes");
                    match polled {
                        Poll::Ready(sent) => break sent,
                        Poll::Pending => drop(rx.try_recv()),
                    }
                };
                sent.unwrap();
                while rx.try_recv().is_ok() {}
            }
            // One that is given up passes none on.
            let count = Rc::new(Cell::new(0));
            let letter = (Counted(count.clone()), vec![7; 30_000]);
            for _ in 0..3 {
                let mut sending = Box::pin(tx.send_async(&letter));
                assert!(sending.as_mut().poll(&mut context).is_pending());
                assert!(rx.try_recv().is_err_and(|error| error.is_empty()));
            }
            assert_eq!(count.get(), 0);
        }
    }

    #[test]
    fn a_refused_send_passes_no_port_on_and_the_next_one_passes_one_on() {
        let channel = Channel::<Counted>::options().inline_limit(0).capacity(4096);
        let channel = channel.private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let (count, others) = (Rc::new(Cell::new(0)), Counted(Rc::default()));
        while tx.try_send(&others).is_ok() {}
        let counted = Counted(count.clone());
        assert!(matches!(tx.try_send(&counted), Err(SendError::Full { .. })));
        let mut out = [0; 64];
        assert!(<Bincode as Codec<Counted>>::encode(&counted, &mut Writer::new(&mut out)).is_err());
        assert_eq!(count.get(), 0);
        rx.recv().unwrap();
        tx.send(&counted).unwrap();
        assert_eq!(count.get(), 1);
    }
}
