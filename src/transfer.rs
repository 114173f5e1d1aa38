//! Parts of a value that take effect when the value is sent or received, and not when it is encoded
//! or decoded.
//!
//! A value may be encoded more than once for one send, or for a send that is refused, or by another
//! serializer, for a log. A reply port inside it is passed on by none of these, only by a send that
//! succeeded. So encoding says what is to be done then, and the send that encoded the value does it.
//! Sends may be nested, where encoding a value sends another one: each has its own parts.

use std::cell::{Cell, RefCell};
use std::mem;

/// What is to be done once the value has gone, or has come.
pub(crate) type Part = Box<dyn FnOnce()>;

/// The values that a thread encodes, or decodes, in this moment, and their parts.
struct Transfer {
    /// How many calls are under way, one inside of the other.
    depth: Cell<usize>,
    /// The innermost call's parts are behind those of the calls around it.
    parts: RefCell<Vec<Part>>,
}

impl Transfer {
    const fn new() -> Self {
        Transfer { depth: Cell::new(0), parts: RefCell::new(Vec::new()) }
    }
}

#[cfg(not(loom))]
std::thread_local! {
    static GOING: Transfer = const { Transfer::new() };
    static COMING: Transfer = const { Transfer::new() };
    static TRACING: Cell<usize> = const { Cell::new(0) };
}

#[cfg(loom)]
loom::thread_local! {
    static GOING: Transfer = Transfer::new();
    static COMING: Transfer = Transfer::new();
    static TRACING: Cell<usize> = Cell::new(0);
}

#[derive(Clone, Copy)]
enum Way {
    Out,
    In,
}

#[inline]
fn with<R>(way: Way, action: impl FnOnce(&Transfer) -> R) -> R {
    match way {
        Way::Out => GOING.with(action),
        Way::In => COMING.with(action),
    }
}

/// A call that encodes or decodes. Dropped, as by a panic, it forgets its parts.
struct Call {
    way: Way,
    /// How many parts the calls around it have.
    before: usize,
}

impl Call {
    #[inline]
    fn begin(way: Way) -> Self {
        with(way, |transfer| {
            transfer.depth.set(transfer.depth.get() + 1);
            Call { way, before: transfer.parts.borrow().len() }
        })
    }

    /// What its parts are, now that it is over.
    #[inline]
    fn end(self) -> Vec<Part> {
        with(self.way, |transfer| {
            let mut parts = transfer.parts.borrow_mut();
            if parts.len() == self.before { Vec::new() } else { parts.split_off(self.before) }
        })
    }
}

impl Drop for Call {
    #[inline]
    fn drop(&mut self) {
        // A model that failed has no thread any more whose values these could be.
        if cfg!(loom) && std::thread::panicking() {
            return;
        }
        let rest = with(self.way, |transfer| {
            transfer.depth.set(transfer.depth.get() - 1);
            let mut parts = transfer.parts.borrow_mut();
            if parts.len() == self.before { Vec::new() } else { parts.split_off(self.before) }
        });
        // Outside of the borrow: a part may hold anything.
        drop(rest);
    }
}

/// Sends a value of type `T`: what its parts said is done if it went, and not if it was refused.
// NB: a type that needs no drop holds no port, and its sends pay nothing for this.
#[inline]
pub(crate) fn sending<T, R, E>(send: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
    if !mem::needs_drop::<T>() {
        return send();
    }
    let call = Call::begin(Way::Out);
    let sent = send();
    let parts = call.end();
    if sent.is_ok() && !parts.is_empty() {
        point!("port.sent");
        parts.into_iter().for_each(|part| part());
    }
    sent
}

/// Has something done when the value that is being encoded has gone; `false` if none is being sent.
pub(crate) fn when_sent(part: impl FnOnce() + 'static) -> bool {
    add(Way::Out, part)
}

/// Decodes a value, and says what is to be done once it counts as received: nothing for one that its
/// sender cannot take back, since its parts are done while it is decoded.
#[inline]
pub(crate) fn receiving<R>(may_be_taken_back: bool, decode: impl FnOnce() -> R) -> (R, Vec<Part>) {
    if !may_be_taken_back {
        return (decode(), Vec::new());
    }
    let call = Call::begin(Way::In);
    let value = decode();
    (value, call.end())
}

/// Has something done when the value that is being decoded has come; `false` if it has already.
pub(crate) fn when_received(part: impl FnOnce() + 'static) -> bool {
    add(Way::In, part)
}

fn add(way: Way, part: impl FnOnce() + 'static) -> bool {
    with(way, |transfer| {
        let under_way = transfer.depth.get() > 0;
        if under_way {
            transfer.parts.borrow_mut().push(Box::new(part));
        }
        under_way
    })
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
