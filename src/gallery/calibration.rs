//! From an accepted rate of false matches to a threshold.

use super::metric::{Metric, cosine_to_euclidean};
use crate::inference::{CalibrationTable, ModelSpec};

/// Which similarity goes with which false match rate, for one model and metric.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// Base-10 logarithm of the false match rate, falling, and the rising similarity.
    points: Vec<(f64, f64)>,
}

/// Why there is no threshold.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// The model brings no table for the metric.
    #[error(
        "model {model} brings no calibration for the metric {metric}, so that an accepted rate \
         cannot be turned into a threshold; state [matching] threshold, or use another metric"
    )]
    Missing {
        /// Name of the model.
        model: String,
        /// The metric.
        metric: &'static str,
    },
}

impl Calibration {
    /// The model's calibration for `metric`.
    ///
    /// The Euclidean distance on the unit sphere is the cosine in other words, so that its table
    /// follows from the cosine's.
    ///
    /// # Errors
    /// [`CalibrationError::Missing`].
    pub fn of(name: &str, spec: &ModelSpec, metric: &Metric) -> Result<Self, CalibrationError> {
        let tables = &spec.calibration;
        let (table, convert): (_, fn(f64) -> f64) = match metric {
            Metric::Cosine => (&tables.cosine, |s| s),
            Metric::Euclidean => (&tables.cosine, cosine_to_euclidean),
            Metric::L1 { .. } => (&tables.l1, |s| s),
        };
        let table = table.as_ref().ok_or_else(|| CalibrationError::Missing {
            model: name.to_owned(),
            metric: metric.name(),
        })?;
        Ok(Self::new(table, convert))
    }

    fn new(table: &CalibrationTable, convert: fn(f64) -> f64) -> Self {
        let rows = table.fmr.iter().zip(&table.similarity);
        Self {
            points: rows.map(|(fmr, s)| (fmr.log10(), convert(*s))).collect(),
        }
    }

    /// The similarity that impostor comparisons exceed with probability `fmr`.
    ///
    /// Between rows the logarithm of the rate is taken as straight in the similarity; beyond the
    /// ends the outermost rows go on.
    pub fn threshold(&self, fmr: f64) -> f64 {
        let wanted = fmr.log10();
        let inner = 1..self.points.len() - 1;
        let upper = inner.into_iter().find(|&i| self.points[i].0 <= wanted);
        let upper = upper.unwrap_or(self.points.len() - 1);
        let ((f0, s0), (f1, s1)) = (self.points[upper - 1], self.points[upper]);
        s0 + (wanted - f0) / (f1 - f0) * (s1 - s0)
    }
}

/// What the owner accepts, and so which similarity suffices.
#[derive(Clone, Debug)]
pub struct ThresholdPolicy {
    /// False match rate of one comparison (1:1), 0..1.
    pub fmr: f64,
    /// False positive identification rate of one search (1:N), 0..1.
    pub fpir: f64,
    /// A similarity that overrides both rates.
    pub threshold: Option<f64>,
    /// The model's calibration; may be missing when `threshold` is there.
    pub calibration: Option<Calibration>,
}

impl ThresholdPolicy {
    /// The threshold of a verification (1:1).
    pub fn verification(&self) -> f32 {
        self.at(self.fmr)
    }

    /// The threshold of a verification (1:1) against a subject of so many templates.
    pub fn verification_of(&self, templates: usize) -> f32 {
        self.at(share(self.fmr, templates))
    }

    /// The threshold of a search among `templates` templates (1:N): each comparison may only
    /// have its share of the accepted rate, `1 - (1 - FPIR)^(1/N)`.
    pub fn identification(&self, templates: usize) -> f32 {
        self.at(share(self.fpir, templates))
    }

    /// The similarity that a stranger reaches with probability `fmr` to one of so many `templates`,
    /// by the calibration where there is one.
    pub(super) fn calibrated(&self, fmr: f64, templates: usize) -> f32 {
        similarity(self.of(share(fmr, templates)).or(self.threshold))
    }

    fn at(&self, fmr: f64) -> f32 {
        similarity(self.threshold.or_else(|| self.of(fmr)))
    }

    fn of(&self, fmr: f64) -> Option<f64> {
        self.calibration.as_ref().map(|c| c.threshold(fmr))
    }
}

/// Without a threshold and a calibration nothing matches.
#[expect(clippy::cast_possible_truncation, reason = "a similarity of order 1")]
fn similarity(wanted: Option<f64>) -> f32 {
    wanted.unwrap_or(f64::INFINITY) as f32
}

/// The rate that each of `n` comparisons may have, so that one or more of them are false with the
/// probability `rate`.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52 templates")]
fn share(rate: f64, n: usize) -> f64 {
    -((-rate).ln_1p() / n.max(1) as f64).exp_m1()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::Embedding;
    use crate::gallery::{Gallery, ModelId, Template};

    fn calibration() -> Calibration {
        let table = CalibrationTable {
            pairs: 1,
            data: String::new(),
            fmr: vec![1e-1, 1e-2, 1e-4],
            similarity: vec![0.1, 0.2, 0.5],
            measured_down_to: 1e-2,
        };
        Calibration::new(&table, |s| s)
    }

    #[test]
    fn rates_become_thresholds() {
        let cases = [
            (1e-1, 0.1),
            (1e-2, 0.2),
            (1e-4, 0.5),
            (1e-3, 0.35),
            (1e-5, 0.65),
            (1.0, 0.0),
        ];
        for (fmr, expected) in cases {
            let found = calibration().threshold(fmr);
            assert!(
                (found - expected).abs() < 1e-9,
                "{fmr}: {found} should be {expected}"
            );
        }
    }

    #[test]
    fn the_threshold_rises_with_the_gallery() {
        let policy = ThresholdPolicy {
            fmr: 1e-2,
            fpir: 1e-2,
            threshold: None,
            calibration: Some(calibration()),
        };
        assert!((policy.verification() - 0.2).abs() < 1e-6);
        assert!((policy.identification(1) - 0.2).abs() < 1e-6);
        let overridden = ThresholdPolicy {
            threshold: Some(0.7),
            ..policy.clone()
        };
        assert!((overridden.verification() - 0.7).abs() < 1e-6);
        assert!((overridden.calibrated(1e-2, 1) - 0.2).abs() < 1e-6);
        // A hundred comparisons may have 1e-4 each.
        assert!((policy.identification(100) - 0.5).abs() < 1e-3);
        let fixed = ThresholdPolicy {
            threshold: Some(0.3),
            ..policy.clone()
        };
        assert!((fixed.identification(100) - 0.3).abs() < 1e-6);
        let nothing = ThresholdPolicy {
            calibration: None,
            ..policy
        };
        assert!(nothing.verification().is_infinite(), "nothing matches");
    }

    #[test]
    fn each_template_is_a_chance_for_a_stranger() {
        let policy = ThresholdPolicy {
            fmr: 1e-2,
            fpir: 1e-2,
            threshold: None,
            calibration: Some(calibration()),
        };
        let model = ModelId("m".to_owned());
        let template = Template::new(&Embedding::new(vec![1.0, 0.0]), model.clone());
        let mut gallery = Gallery::new(model, Metric::Cosine, policy);
        let of = |name: &str, templates| vec![(name.to_owned(), template.clone()); templates];
        gallery
            .fill([of("ada", 100), of("bela", 1)].concat())
            .unwrap();
        let searched = gallery.search(&template).unwrap().threshold;
        let verified = |name| gallery.verify(&template, name).unwrap().unwrap().threshold;
        for (found, expected) in [
            (searched, 0.5),
            (verified("ada"), 0.5),
            (verified("bela"), 0.2),
            (gallery.similarity_at(1e-2, 1), 0.2),
            (gallery.similarity_at(1e-2, 100), 0.5),
        ] {
            assert!((found - expected).abs() < 0.002, "{found} {expected}");
        }
    }
}
