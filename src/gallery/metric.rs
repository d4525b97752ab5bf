//! How alike two templates are.

use super::template::Template;
use crate::inference::{L1HeadSpec, kernels};

/// A measure of similarity: higher is more alike.
#[derive(Clone, Debug)]
pub enum Metric {
    /// Cosine of the angle, -1..=1.
    Cosine,
    /// `1 - d / 2` with the Euclidean distance `d` on the unit sphere (FaceNet, Schroff et al.
    /// 2015), 0..=1.
    Euclidean,
    /// A learned head: the sigmoid of a weighted sum of component-wise distances (Koch et al.
    /// 2015), 0..=1.
    L1 {
        /// One per component.
        weights: Vec<f32>,
        /// Added to the sum.
        bias: f32,
    },
}

impl From<&L1HeadSpec> for Metric {
    fn from(head: &L1HeadSpec) -> Self {
        Self::L1 {
            weights: head.weights.clone(),
            bias: head.bias,
        }
    }
}

impl Metric {
    /// The name in the configuration.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Euclidean => "euclidean",
            Self::L1 { .. } => "l1",
        }
    }

    /// Whether a [`Turn`](super::Turn) of both templates leaves their similarity as it is.
    pub const fn survives_a_turn(&self) -> bool {
        !matches!(self, Self::L1 { .. })
    }

    /// Similarity of two templates of the same model.
    #[expect(
        clippy::cast_precision_loss,
        reason = "sums of a few thousand products of int8"
    )]
    pub(super) fn similarity<'a>(&self, a: impl Into<Vector<'a>>, b: impl Into<Vector<'a>>) -> f32 {
        let (a, b) = (a.into(), b.into());
        let norms = a.norm * b.norm;
        let cosine = || {
            let dot = kernels().dot(a.values, b.values) as f32;
            if norms > 0.0 { dot / norms } else { 0.0 }
        };
        match self {
            Self::Cosine => cosine(),
            Self::Euclidean => {
                let d = (2.0 - 2.0 * cosine()).max(0.0).sqrt();
                1.0 - d / 2.0
            }
            Self::L1 { weights, bias } => {
                let unit = |v: i8, norm: f32| if norm > 0.0 { f32::from(v) / norm } else { 0.0 };
                let pairs = a.values.iter().zip(b.values).zip(weights);
                let (p, q) = (a.norm, b.norm);
                let distance = |a: i8, b: i8| (unit(a, p) - unit(b, q)).abs();
                let sum: f32 = pairs.map(|((&a, &b), w)| w * distance(a, b)).sum();
                1.0 / (1.0 + (-sum - bias).exp())
            }
        }
    }
}

/// The components of a template, of any length, and that length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vector<'a> {
    pub(super) values: &'a [i8],
    pub(super) norm: f32,
}

impl<'a> Vector<'a> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "sums of a few thousand products of int8"
    )]
    pub(super) fn new(values: &'a [i8]) -> Self {
        let norm = (kernels().dot(values, values) as f32).sqrt();
        Self { values, norm }
    }
}

impl<'a> From<&'a Template> for Vector<'a> {
    fn from(template: &'a Template) -> Self {
        Self::new(&template.values)
    }
}

/// The similarity that [`Metric::Euclidean`] gives for a cosine.
pub(super) fn cosine_to_euclidean(cosine: f64) -> f64 {
    1.0 - (2.0 - 2.0 * cosine).max(0.0).sqrt() / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::Embedding;
    use crate::gallery::ModelId;

    fn template(values: &[f32]) -> Template {
        Template::new(&Embedding::new(values.to_vec()), ModelId("m".to_owned()))
    }

    #[test]
    fn metrics_of_known_angles() {
        let (x, y, diagonal) = (
            template(&[1., 0.]),
            template(&[0., 1.]),
            template(&[1., 1.]),
        );
        let minus = template(&[-1., 0.]);
        let half = std::f32::consts::FRAC_1_SQRT_2;
        for (a, b, cosine) in [
            (&x, &x, 1.0),
            (&x, &y, 0.0),
            (&x, &diagonal, half),
            (&x, &minus, -1.0),
        ] {
            let euclidean = 1.0 - (2.0f32 - 2.0 * cosine).sqrt() / 2.0;
            assert!((Metric::Cosine.similarity(a, b) - cosine).abs() < 1e-6);
            assert!((Metric::Euclidean.similarity(a, b) - euclidean).abs() < 1e-6);
            assert!((cosine_to_euclidean(cosine.into()) - f64::from(euclidean)).abs() < 1e-6);
        }
        assert!(Metric::Cosine.similarity(&template(&[0., 0.]), &x).abs() < 1e-6);
        // |x - y| is 1 in both components: sigmoid(-3 * 1 - 1 * 1 + 2).
        let head = Metric::L1 {
            weights: vec![-3.0, -1.0],
            bias: 2.0,
        };
        assert!((head.similarity(&x, &y) - 1.0 / (1.0 + 2f32.exp())).abs() < 1e-5);
        assert!((head.similarity(&x, &x) - 1.0 / (1.0 + (-2f32).exp())).abs() < 1e-5);
    }
}
