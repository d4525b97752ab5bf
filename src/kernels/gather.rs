//! Windows of an activation laid out as rows, for dense layers of more than one position.

use std::ops::Range;

use super::geometry::{Shape, Window};
use super::layer::Dense;

/// Bytes that are copied at a time.
const COPIED: usize = 32;

/// Windows that are laid out at a time: a multiple of the rows of every kernel, few enough to stay in a
/// cache.
const STEP: usize = 210;

/// Calls `act` with ranges of the pixels of the output, which has height and width `size`, and their
/// windows, one row of `layer.depth` values each. `input` is padded.
pub(super) fn rows(
    layer: &Dense,
    input: &[i8],
    shape: Shape,
    size: [usize; 2],
    gathered: &mut Vec<i8>,
    mut act: impl FnMut(Range<usize>, &[i8]),
) {
    let pixels = size[0] * size[1];
    if layer.window == Window::POINT && layer.depth == layer.inputs {
        return act(0..pixels, input);
    }
    for start in (0..pixels).step_by(STEP) {
        let range = start..(start + STEP).min(pixels);
        windows(layer, input, shape, size[1], range.clone(), gathered);
        act(range, gathered);
    }
}

/// Lays out the windows of the output pixels in `range`, one row of `layer.depth` values each; what
/// follows a window in its row is arbitrary, and its weights are zero. `input` is padded, `width`
/// that of the output.
///
/// # Panics
/// If a window reaches beyond the input.
fn windows(
    layer: &Dense,
    input: &[i8],
    shape: Shape,
    width: usize,
    range: Range<usize>,
    rows: &mut Vec<i8>,
) {
    let [kernel_rows, kernel_columns] = layer.window.kernel;
    let [down, right] = layer.window.stride;
    let length = kernel_columns * shape.channels;
    let line = shape.width * shape.channels;
    let spill = length.next_multiple_of(COPIED) - length;
    let vectors = length.div_ceil(COPIED);
    let (step, last) = (right * shape.channels, (kernel_rows - 1) * line + length);
    assert!(kernel_rows * length <= layer.depth, "a row holds a window");
    rows.resize(range.len() * layer.depth + COPIED, 0);
    let mut to = rows.as_mut_ptr();
    let mut next = range.start;
    while next < range.end {
        let (y, x) = (next / width, next % width);
        let count = (width - x).min(range.end - next);
        next += count;
        let at = y * down * line + x * step;
        let end = at + (count - 1) * step + last;
        assert!(end <= input.len(), "windows within the input");
        // Of so many windows all vectors lie in the input, even at the end of their last row.
        let room = input.len().checked_sub(at + last + spill);
        let whole = room.map_or(0, |room| (room / step + 1).min(count));
        let mut window = input.as_ptr().wrapping_add(at);
        for place in 0..count {
            let (mut row, mut into) = (window, to);
            for _ in 0..kernel_rows {
                // SAFETY: a row of the window lies at `row`, and where whole vectors do not, no more
                // than the row is copied; `rows` ends with room for one vector more.
                unsafe {
                    if place < whole {
                        copy(row, into);
                        for vector in 1..vectors {
                            let at = vector * COPIED;
                            copy(row.wrapping_add(at), into.wrapping_add(at));
                        }
                    } else {
                        into.copy_from_nonoverlapping(row, length);
                    }
                }
                (row, into) = (row.wrapping_add(line), into.wrapping_add(length));
            }
            (window, to) = (window.wrapping_add(step), to.wrapping_add(layer.depth));
        }
    }
    rows.truncate(range.len() * layer.depth);
}

/// Copies one vector.
///
/// # Safety
/// Both are good for [`COPIED`] bytes.
#[inline(always)]
unsafe fn copy(from: *const i8, to: *mut i8) {
    // SAFETY: passed on.
    unsafe {
        let vector = from.cast::<[u64; COPIED / 8]>().read_unaligned();
        to.cast::<[u64; COPIED / 8]>().write_unaligned(vector);
    }
}
