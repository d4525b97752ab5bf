//! What runs a planned network: integers over one arena, or tract.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use super::quantized::Program;
use crate::image::RgbImage;

/// A network that is ready to run.
pub(super) enum Engine {
    /// Integers from the image to the outputs.
    Integers {
        program: Box<Program>,
        /// The byte of each pixel value, per channel.
        table: Box<[[i8; 256]; 3]>,
        /// Whether that is the value less 128, whatever the channel.
        shifted: bool,
    },
    /// tract, where at least a part is in floating point.
    Tract {
        state: Box<TypedSimpleState>,
        /// The real number of each pixel value, per channel.
        table: Box<[[f32; 256]; 3]>,
        outputs: TVec<TValue>,
    },
}

impl Engine {
    /// Plans a model that takes `[1, 3, height, width]` of f32, to which `table` turns pixel values.
    pub(super) fn plan(model: TypedModel, table: Box<[[f32; 256]; 3]>) -> TractResult<Engine> {
        let model = model.into_decluttered()?;
        if let Some(program) = Program::of(&model)? {
            let table = table.each_ref().map(|values| program.entrance(values));
            return Ok(Engine::Integers {
                program: Box::new(program),
                shifted: table == [std::array::from_fn(|pixel| shift(pixel.to_le_bytes()[0])); 3],
                table: Box::new(table),
            });
        }
        Ok(Engine::Tract {
            state: Box::new(model.into_optimized()?.into_runnable()?.spawn()?),
            table,
            outputs: TVec::new(),
        })
    }

    /// Runs on `image`, of the size that the model was planned for; `order` is the network's order of
    /// red, green and blue.
    pub(super) fn run(&mut self, image: &RgbImage, order: [usize; 3]) -> TractResult<()> {
        let pixels = image.pixels();
        match self {
            Engine::Integers {
                program,
                table,
                shifted,
            } => {
                let bytes = program.input();
                match (*shifted, order) {
                    (true, [0, 1, 2]) => shift_pixels::<0, 2>(pixels, bytes),
                    (true, [2, 1, 0]) => shift_pixels::<2, 0>(pixels, bytes),
                    _ => look_up(table, pixels, order, bytes),
                }
                program.run();
            }
            Engine::Tract {
                state,
                table,
                outputs,
            } => {
                let mut planes = Vec::with_capacity(pixels.len());
                for (table, channel) in table.iter().zip(order) {
                    let plane = pixels.iter().skip(channel).step_by(3);
                    planes.extend(plane.map(|&v| table[usize::from(v)]));
                }
                let shape = [1, 3, image.height(), image.width()];
                let input = Tensor::from_shape(&shape, &planes)?;
                *outputs = state.run(tvec!(input.into_tvalue()))?;
            }
        }
        Ok(())
    }

    /// The output of this number of the last run, in row-major order.
    ///
    /// # Errors
    /// When there is none, or it holds no f32.
    pub(super) fn output(&self, index: usize) -> TractResult<&[f32]> {
        match self {
            Engine::Integers { program, .. } => Ok(program.output(index)),
            Engine::Tract { outputs, .. } => outputs
                .get(index)
                .context("a network that has not run")?
                .try_as_plain_ram()?
                .as_slice::<f32>(),
        }
    }

    /// Bytes of the arena, when there is one.
    pub(super) fn arena(&self) -> Option<usize> {
        match self {
            Engine::Integers { program, .. } => Some(program.arena()),
            Engine::Tract { .. } => None,
        }
    }
}

/// A pixel value less 128.
fn shift(pixel: u8) -> i8 {
    (pixel ^ 0x80).cast_signed()
}

/// All pixel values less 128, with the channels `FIRST`, 1 and `LAST` in this order. By itself, because
/// the compiler makes no vectors of it where it is inlined.
#[inline(never)]
fn shift_pixels<const FIRST: usize, const LAST: usize>(pixels: &[u8], bytes: &mut [i8]) {
    for (to, from) in bytes.chunks_exact_mut(3).zip(pixels.chunks_exact(3)) {
        to[0] = shift(from[FIRST]);
        to[1] = shift(from[1]);
        to[2] = shift(from[LAST]);
    }
}

/// The byte of each pixel value.
fn look_up(table: &[[i8; 256]; 3], pixels: &[u8], order: [usize; 3], bytes: &mut [i8]) {
    let [a, b, c] = table;
    let pairs = bytes.as_chunks_mut::<3>().0.iter_mut();
    for (to, from) in pairs.zip(pixels.as_chunks::<3>().0) {
        let [x, y, z] = order.map(|channel| usize::from(from[channel]));
        *to = [a[x], b[y], c[z]];
    }
}
