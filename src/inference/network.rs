//! One network, planned for one input size.

use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::DimLike;

use super::engine::Engine;
use super::error::ModelError;
use super::manifest::{Channels, InputSpec};
use super::quantized::{Report, rewrite};
use crate::image::RgbImage;

/// Operator sets of ONNX that tract is tested with.
const OPSETS: std::ops::RangeInclusive<i64> = 9..=18;

/// A network that is ready to run on images of one size.
pub struct Network {
    name: String,
    engine: Engine,
    channels: Channels,
    width: usize,
    height: usize,
    outputs: Vec<String>,
    arithmetic: Report,
}

/// What a network gave, by the names of its outputs.
pub struct Outputs<'a> {
    network: &'a str,
    names: &'a [String],
    engine: &'a Engine,
}

impl Network {
    /// Plans the ONNX model in `bytes` for RGB images of `width` x `height` pixels.
    ///
    /// # Errors
    /// [`ModelError::Opset`], [`ModelError::Shape`] for an input that is not one image of three
    /// channels and of this size, and [`ModelError::Load`].
    pub fn new(
        name: &str,
        bytes: &[u8],
        input: &InputSpec,
        size: (usize, usize),
    ) -> Result<Self, ModelError> {
        Self::plan(name, bytes, input, size, true)
    }

    /// The same as tract alone would run it, to compare with.
    ///
    /// # Errors
    /// Those of [`Self::new`].
    pub fn stock(
        name: &str,
        bytes: &[u8],
        input: &InputSpec,
        size: (usize, usize),
    ) -> Result<Self, ModelError> {
        Self::plan(name, bytes, input, size, false)
    }

    fn plan(
        name: &str,
        bytes: &[u8],
        input: &InputSpec,
        (width, height): (usize, usize),
        ours: bool,
    ) -> Result<Self, ModelError> {
        let refused = |e: TractError| ModelError::Load {
            name: name.to_owned(),
            reason: format!("{e:#}"),
        };
        let onnx = tract_onnx::onnx();
        let proto = onnx
            .proto_model_for_read(&mut &bytes[..])
            .map_err(refused)?;
        check_opset(name, &proto)?;
        let outputs = output_names(name, &proto)?;
        let model = onnx
            .with_ignore_output_shapes(true)
            .with_ignore_value_info(true)
            .model_for_proto_model(&proto)
            .map_err(refused)?;
        check_input(name, &model, (width, height))?;
        let fact = InferenceFact::from(f32::fact([1, 3, height, width]));
        let mut model = model
            .with_input_fact(0, fact)
            .and_then(InferenceModelExt::into_typed)
            .map_err(refused)?;
        let mut arithmetic = if ours {
            rewrite(&mut model).map_err(refused)?
        } else {
            Report::default()
        };
        let mut table = Box::new([[0.0; 256]; 3]);
        for (c, values) in table.iter_mut().enumerate() {
            for (pixel, value) in (0u16..).zip(values) {
                *value = (f32::from(pixel) - input.mean[c]) * input.scale[c];
            }
        }
        let engine = Engine::plan(model, table).map_err(refused)?;
        arithmetic.arena = engine.arena();
        let name = name.to_owned();
        Ok(Self {
            name,
            engine,
            channels: input.channels,
            width,
            height,
            outputs,
            arithmetic,
        })
    }

    /// How much of the network runs in integers, and by name what does not.
    pub fn arithmetic(&self) -> &Report {
        &self.arithmetic
    }

    /// Width and height in pixels of the images that it takes.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// Runs on one image of exactly [`Self::size`].
    ///
    /// # Errors
    /// [`ModelError::Run`], also for an image of another size.
    pub fn run(&mut self, image: &RgbImage) -> Result<Outputs<'_>, ModelError> {
        if (image.width(), image.height()) != (self.width, self.height) {
            return Err(ModelError::Run {
                name: self.name.clone(),
                reason: format!(
                    "it takes {}x{} pixels and was given {}x{}",
                    self.width,
                    self.height,
                    image.width(),
                    image.height()
                ),
            });
        }
        let order = match self.channels {
            Channels::Rgb => [0, 1, 2],
            Channels::Bgr => [2, 1, 0],
        };
        match self.engine.run(image, order) {
            Ok(()) => Ok(Outputs {
                network: &self.name,
                names: &self.outputs,
                engine: &self.engine,
            }),
            Err(e) => Err(ModelError::Run {
                name: self.name.clone(),
                reason: format!("{e:#}"),
            }),
        }
    }
}

impl Outputs<'_> {
    /// The values of one output in row-major order.
    ///
    /// # Errors
    /// [`ModelError::Shape`] when there is no such output or it holds no f32.
    pub fn get(&self, name: &str) -> Result<&[f32], ModelError> {
        let missing = |found: String| ModelError::Shape {
            name: self.network.to_owned(),
            what: format!("output {name}"),
            found,
            expected: "a tensor of f32".to_owned(),
        };
        let index = self.names.iter().position(|n| n == name);
        let index = index
            .ok_or_else(|| missing(format!("missing (there are {})", self.names.join(", "))))?;
        let values = self.engine.output(index);
        values.map_err(|e| missing(e.to_string()))
    }

    /// The same, when it has to hold `size` values.
    ///
    /// # Errors
    /// [`ModelError::Shape`], also for another number of values.
    pub fn get_sized(&self, name: &str, size: usize) -> Result<&[f32], ModelError> {
        let values = self.get(name)?;
        if values.len() == size {
            return Ok(values);
        }
        Err(ModelError::Shape {
            name: self.network.to_owned(),
            what: format!("output {name}"),
            found: format!("{} values", values.len()),
            expected: format!("{size} values"),
        })
    }

    /// The values of the first output.
    ///
    /// # Errors
    /// [`ModelError::Shape`] when there is none or it holds no f32.
    pub fn first(&self) -> Result<&[f32], ModelError> {
        self.get(self.names.first().map_or("", String::as_str))
    }

    /// The values of the only output, which has to hold `size`.
    ///
    /// # Errors
    /// [`ModelError::Shape`], also when there are more outputs or none.
    pub fn single(&self, size: usize) -> Result<&[f32], ModelError> {
        match self.names {
            [name] => self.get_sized(name, size),
            _ => Err(ModelError::Shape {
                name: self.network.to_owned(),
                what: "the number of outputs".to_owned(),
                found: self.names.len().to_string(),
                expected: "1".to_owned(),
            }),
        }
    }
}

fn check_opset(name: &str, proto: &ModelProto) -> Result<(), ModelError> {
    let set = proto
        .opset_import
        .iter()
        .find(|s| s.domain.is_empty() || s.domain == "ai.onnx");
    let found = set.map_or(0, |s| s.version);
    if OPSETS.contains(&found) {
        return Ok(());
    }
    let (first, last) = (*OPSETS.start(), *OPSETS.end());
    Err(ModelError::Opset {
        name: name.to_owned(),
        found,
        first,
        last,
    })
}

fn output_names(name: &str, proto: &ModelProto) -> Result<Vec<String>, ModelError> {
    let graph = proto.graph.as_ref().ok_or_else(|| ModelError::Load {
        name: name.to_owned(),
        reason: "the file holds no graph".to_owned(),
    })?;
    Ok(graph.output.iter().map(|o| o.name.clone()).collect())
}

/// One input of one image, whose size is either free or the one asked for. A detector is
/// convolutional all through, so that the size in its file is only an example; hence a multiple
/// of 32 may stand in for another.
fn check_input(
    name: &str,
    model: &InferenceModel,
    (width, height): (usize, usize),
) -> Result<(), ModelError> {
    let wrong = |found: String| ModelError::Shape {
        name: name.to_owned(),
        what: "the input".to_owned(),
        found,
        expected: format!("one f32 tensor of 1x3x{height}x{width}"),
    };
    let inputs = model.input_outlets().map_err(|e| wrong(e.to_string()))?;
    let &[input] = inputs else {
        return Err(wrong(format!("{} tensors", inputs.len())));
    };
    let fact = model.outlet_fact(input).map_err(|e| wrong(e.to_string()))?;
    let dims: Vec<_> = fact.shape.dims().map(|d| d.concretize()).collect();
    let known = |i: usize| {
        dims.get(i)
            .cloned()
            .flatten()
            .and_then(|d| d.to_usize().ok())
    };
    let resizable = |size: usize, asked: usize| size.is_multiple_of(32) && asked.is_multiple_of(32);
    let fits = dims.len() == 4
        && known(0).is_none_or(|n| n == 1)
        && known(1).is_none_or(|n| n == 3)
        && known(2).is_none_or(|h| h == height || resizable(h, height))
        && known(3).is_none_or(|w| w == width || resizable(w, width));
    if fits {
        Ok(())
    } else {
        Err(wrong(format!("{:?}", fact.shape)))
    }
}
