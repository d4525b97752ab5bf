//! Dense layers at the end of a network, whose sums become real numbers.

use super::geometry::Window;
use super::isa::Isa;
use super::layer::Dense;
use super::requant::Requant;

/// A dense layer that gives `(sum + bias) * unit`, or the logistic function of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    pub(super) layer: Dense,
    units: Vec<f32>,
    logistic: bool,
}

impl Head {
    /// Packs `weights`, `[output][vertical][horizontal][input]` in -127..=127, for `isa`; `bias` is in
    /// units of the sum, one per output.
    ///
    /// # Panics
    /// If the number of weights is not outputs x window x inputs, or that of units not outputs.
    pub fn new(
        isa: Isa,
        window: Window,
        inputs: usize,
        weights: &[i8],
        input_zero: i8,
        (bias, units): (&[i32], Vec<f32>),
        logistic: bool,
    ) -> Head {
        assert_eq!(bias.len(), units.len(), "one unit per output");
        let requant = Requant::sums(bias);
        Head {
            layer: Dense::new(isa, window, inputs, weights, input_zero, requant),
            units,
            logistic,
        }
    }

    /// The outputs of a pixel for its sums with their biases: the definition.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a real network's sums are below 2^24"
    )]
    pub(super) fn reals(&self, sums: &[i32], output: &mut [f32]) {
        for ((output, &sum), unit) in output.iter_mut().zip(sums).zip(&self.units) {
            *output = sum as f32 * unit;
        }
        if self.logistic {
            output
                .iter_mut()
                .for_each(|value| *value = 1.0 / (1.0 + (-*value).exp()));
        }
    }
}
