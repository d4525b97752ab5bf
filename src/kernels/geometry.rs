//! Shapes of activations and of the windows that slide over them.

/// A channels-last activation `[height, width, channels]` of one image, densely packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Values per pixel.
    pub channels: usize,
}

impl Shape {
    /// Pixels.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Values.
    pub fn volume(&self) -> usize {
        self.pixels() * self.channels
    }
}

/// A sliding window: `[vertical, horizontal]` throughout, dilation one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// Size in pixels.
    pub kernel: [usize; 2],
    /// Step in pixels.
    pub stride: [usize; 2],
    /// Padding above and to the left, in pixels.
    pub before: [usize; 2],
    /// Padding below and to the right, in pixels.
    pub after: [usize; 2],
}

impl Window {
    /// Window of 1x1 that moves by one pixel.
    pub const POINT: Window = Window {
        kernel: [1, 1],
        stride: [1, 1],
        before: [0, 0],
        after: [0, 0],
    };

    /// Height and width of the output for an input of the given shape; zero where the window does
    /// not fit.
    pub fn output(&self, input: Shape) -> [usize; 2] {
        let size = [input.height, input.width];
        std::array::from_fn(|axis| {
            let padded = size[axis] + self.before[axis] + self.after[axis];
            padded
                .checked_sub(self.kernel[axis])
                .map_or(0, |room| room / self.stride[axis] + 1)
        })
    }

    /// Positions in the window.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Whether it has 3x3 positions and moves by one.
    pub(super) fn is_three_by_three(&self) -> bool {
        self.kernel == [3, 3] && self.stride == [1, 1]
    }

    /// The input with its padding, as the window sees it.
    pub fn padded(&self, input: Shape) -> Shape {
        Shape {
            height: input.height + self.before[0] + self.after[0],
            width: input.width + self.before[1] + self.after[1],
            channels: input.channels,
        }
    }
}

/// Copies `input` into `into` with `value` around it and each pixel padded with `value` to
/// `channels` values; returns the shape it has there.
pub(super) fn pad(
    input: &[i8],
    shape: Shape,
    window: &Window,
    channels: usize,
    value: i8,
    into: &mut Vec<i8>,
) -> Shape {
    let padded = Shape {
        channels,
        ..window.padded(shape)
    };
    into.clear();
    into.reserve(padded.volume());
    let row = padded.width * channels;
    into.resize(window.before[0] * row, value);
    for line in input.chunks_exact(shape.width * shape.channels) {
        into.resize(into.len() + window.before[1] * channels, value);
        if channels == shape.channels {
            into.extend_from_slice(line);
        } else {
            for pixel in line.chunks_exact(shape.channels) {
                into.extend_from_slice(pixel);
                into.resize(into.len() + channels - shape.channels, value);
            }
        }
        into.resize(into.len() + window.after[1] * channels, value);
    }
    into.resize(padded.volume(), value);
    padded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_surrounds_pixels_and_fills_channels() {
        let window = Window {
            before: [1, 1],
            after: [0, 1],
            kernel: [2, 2],
            stride: [1, 1],
        };
        let mut out = Vec::new();
        let shape = Shape {
            height: 1,
            width: 2,
            channels: 1,
        };
        let padded = pad(&[5, 6], shape, &window, 2, 9, &mut out);
        assert_eq!(
            padded,
            Shape {
                height: 2,
                width: 4,
                channels: 2
            }
        );
        assert_eq!(out, [9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 5, 9, 6, 9, 9, 9]);
    }

    #[test]
    fn the_window_counts_its_positions() {
        let same = Window {
            kernel: [3, 3],
            stride: [2, 2],
            before: [1, 1],
            after: [1, 1],
        };
        assert_eq!(
            same.output(Shape {
                height: 112,
                width: 7,
                channels: 1
            }),
            [56, 4]
        );
        assert_eq!(
            same.output(Shape {
                height: 1,
                width: 0,
                channels: 1
            }),
            [1, 0]
        );
    }
}
