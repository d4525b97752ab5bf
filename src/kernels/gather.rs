//! Windows of an activation laid out as rows, for dense layers of more than one position.

use std::ops::Range;

use super::geometry::{Shape, Window};
use super::layer::Dense;

/// Bytes that are copied at a time.
const COPIED: usize = 16;

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
    let whole = length.next_multiple_of(COPIED);
    let (step, last) = (right * shape.channels, (kernel_rows - 1) * line + length);
    assert!(kernel_rows * length <= layer.depth, "a row holds a window");
    rows.resize(range.len() * layer.depth + COPIED, 0);
    let mut to = rows.as_mut_ptr();
    let mut x = range.start % width;
    let mut at = range.start / width * down * line + x * step;
    for _ in range.clone() {
        assert!(at + last <= input.len(), "a window within the input");
        let mut from = at;
        let mut place = to;
        for _ in 0..kernel_rows {
            // SAFETY: a row of the window lies at `from`, and where whole vectors do not, no more
            // than the row is copied; `rows` ends with room for one more copy.
            unsafe {
                let row = input.as_ptr().add(from);
                if from + whole <= input.len() {
                    let mut done = 0;
                    while done < length {
                        let vector = row.add(done).cast::<[u64; 2]>().read_unaligned();
                        place.add(done).cast::<[u64; 2]>().write_unaligned(vector);
                        done += COPIED;
                    }
                } else {
                    place.copy_from_nonoverlapping(row, length);
                }
            }
            from += line;
            place = place.wrapping_add(length);
        }
        to = to.wrapping_add(layer.depth);
        (at, x) = (at + step, x + 1);
        if x == width {
            (at, x) = (at + down * line - width * step, 0);
        }
    }
    rows.truncate(range.len() * layer.depth);
}
