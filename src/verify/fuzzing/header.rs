//! Arbitrary bytes as a header.

use std::sync::LazyLock;

use super::header::{BadHeader, Header};
use super::layout::{Layout, MAX_CODEC, MAX_SHAPE, MAX_TYPE, TYPE_WORD, VERSION, lane_word, word};
use crate::name::MAX_NAME;
use crate::ring::LINE;
use crate::sys::{Key, Ordering};
use crate::verify::fuzzing::{Memory, Script};

const fn layout(lanes: usize, ring: u64, back: u64, inline_limit: usize) -> Layout {
    Layout {
        lanes,
        receivers: 1,
        ring_lines: ring,
        ring_window: if ring > 8 { ring / 8 } else { ring },
        return_lines: back,
        return_window: back,
        inline_limit,
        max_value: 1 << 16,
        max_waiting: 0,
    }
}

/// Sound layouts of each shape, small.
const LAYOUTS: [Layout; 9] = [
    layout(1, 64, 0, 0),
    layout(1, 0, 0, 64),
    layout(2, 64, 64, 100),
    layout(3, 2, 0, 1),
    layout(65, 0, 0, 1024),
    layout(1, 0, 2, 4000),
    Layout { receivers: 9, ..layout(1, 0, 0, 100) },
    Layout { max_waiting: 3, ..layout(2, 64, 64, 100) },
    Layout { max_waiting: 3, ..layout(1, 0, 0, 64) },
];

/// Segments of the layouts' sizes, and one that is too short for any.
static SEGMENTS: LazyLock<Vec<Memory>> = LazyLock::new(|| {
    let size = |layout: &Layout| layout.size().expect("the layouts are sound");
    LAYOUTS.iter().map(size).chain([512]).map(Memory::new).collect()
});

/// Reads a header that others wrote, or wrote over.
pub fn header(data: &[u8]) {
    let mut script = Script(data);
    let layout = LAYOUTS[script.below(LAYOUTS.len())];
    let memory = &SEGMENTS[script.below(SEGMENTS.len())];
    let segment = &*memory.segment;
    memory.clear();
    if layout.size().is_some_and(|size| size <= segment.len()) {
        sound(layout).write(segment);
        Header::publish(segment);
    }
    while !script.is_over() {
        if script.byte() % 2 == 0 {
            // The header's words end here; the others are not read with it.
            let at = script.below(3 * LINE / 8) * 8;
            segment.word(at).store(script.number(), Ordering::Relaxed);
        } else {
            let at = script.below(segment.len());
            let len = usize::from(script.byte()).min(segment.len() - at);
            segment.copy_in(at, script.bytes(len));
        }
    }
    match Header::read(segment) {
        Ok(header) => {
            fits(&header, segment.len());
            memory.clear();
            header.write(segment);
            Header::publish(segment);
            assert_eq!(Header::read(segment), Ok(header));
        }
        Err(BadHeader::Damaged(what)) => assert!(!what.is_empty()),
        Err(BadHeader::Version(version)) => assert_ne!(version, VERSION),
        Err(BadHeader::Unfinished) => {}
    }
}

fn sound(layout: Layout) -> Header {
    Header {
        layout,
        key: Key::new(7).expect("not zero"),
        incarnation: 1,
        mode: 0o600,
        durable: false,
        private: true,
        calls: false,
        queue: None,
        fingerprint: 1,
        name: "fuzz".to_owned(),
        codec: "raw".to_owned(),
        type_name: "bytes".to_owned(),
        shape: "bytes".to_owned(),
    }
}

/// Whether everything that a header speaks of lies in the segment, each part by itself.
fn fits(header: &Header, len: usize) {
    let layout = &header.layout;
    let plan = layout.plan().expect("a layout that was accepted has a size");
    assert_eq!(plan.len, len);
    let mut parts = vec![
        (0, layout.lane(0)),
        (layout.name_at(), MAX_NAME),
        (layout.codec_at(), MAX_CODEC),
        (layout.type_at(), MAX_TYPE),
        (layout.shape_at(), MAX_SHAPE),
    ];
    for slot in 0..layout.slots() {
        let words = layout.slot_words(slot);
        assert!((word::WANT_QUEUE..layout.lane(0)).contains(&words), "{header:?}");
        parts.push((layout.slot(slot), TYPE_WORD + layout.message_len()));
    }
    for lane in 0..layout.lanes {
        parts.push((layout.lane(lane), lane_word::BLOCK));
        for ring in [layout.ring(lane), layout.return_ring(lane)] {
            parts.push((ring.lines_at, ring.lines as usize * LINE));
        }
    }
    parts.sort_unstable();
    let mut end = 0;
    for (at, len) in parts {
        assert!(at >= end, "{header:?}");
        end = at + len;
    }
    assert!(end <= len, "{header:?}");
    for (text, max) in [
        (&header.name, MAX_NAME),
        (&header.codec, MAX_CODEC),
        (&header.type_name, MAX_TYPE),
        (&header.shape, MAX_SHAPE),
    ] {
        assert!(text.len() <= max, "{header:?}");
    }
}
