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
            return Ok(Engine::Integers {
                table: Box::new(table.each_ref().map(|values| program.entrance(values))),
                program: Box::new(program),
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
            Engine::Integers { program, table } => {
                let [a, b, c] = &**table;
                let bytes = program.input().as_chunks_mut::<3>().0;
                for (to, from) in bytes.iter_mut().zip(pixels.as_chunks::<3>().0) {
                    let [x, y, z] = order.map(|channel| usize::from(from[channel]));
                    *to = [a[x], b[y], c[z]];
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
