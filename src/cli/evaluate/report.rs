//! The figures of a verification test (ISO/IEC 19795-1).

use serde_json::json;

/// One comparison.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scored {
    pub(super) fold: usize,
    pub(super) same: bool,
    pub(super) similarity: f32,
}

/// Share of genuine pairs that are accepted at a threshold with a false match rate.
#[derive(Clone, Copy, Debug, PartialEq)]
struct TarAt {
    fmr: f64,
    tar: f64,
    threshold: f32,
}

/// Everything that is said of a test.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pairs: usize,
    accuracy: f64,
    accuracy_std: f64,
    eer: f64,
    tar: [TarAt; 2],
    failed: usize,
}

impl Report {
    pub(super) fn of(scored: &[Scored], failed: usize) -> Self {
        let folds = scored.iter().map(|s| s.fold + 1).max().unwrap_or(0);
        let accuracies: Vec<f64> = (0..folds).map(|fold| fold_accuracy(scored, fold)).collect();
        let n = share(folds, 1).max(1.0);
        let mean = accuracies.iter().sum::<f64>() / n;
        let squares: f64 = accuracies.iter().map(|a| (a - mean).powi(2)).sum();
        Self {
            pairs: scored.len(),
            accuracy: mean,
            accuracy_std: (squares / n).sqrt(),
            eer: equal_error_rate(&trade_off(scored)),
            tar: [1e-2, 1e-3].map(|fmr| tar_at(scored, fmr)),
            failed,
        }
    }

    pub(super) fn json(&self) -> serde_json::Value {
        json!({
            "pairs": self.pairs,
            "accuracy": self.accuracy,
            "accuracy_std": self.accuracy_std,
            "eer": self.eer,
            "tar_at_fmr": { "0.01": self.tar[0].tar, "0.001": self.tar[1].tar },
            "thresholds": { "0.01": self.tar[0].threshold, "0.001": self.tar[1].threshold },
            "failed_detections": self.failed,
        })
    }

    pub(super) fn words(&self) -> String {
        let mut text = format!(
            "{} pairs: accuracy {:.2} % (standard deviation over folds {:.2}), equal error rate {:.2} %",
            self.pairs,
            100.0 * self.accuracy,
            100.0 * self.accuracy_std,
            100.0 * self.eer
        );
        for TarAt {
            fmr,
            tar,
            threshold,
        } in &self.tar
        {
            text += &format!(
                "\naccepted at a false match rate of {fmr}: {:.2} % of the genuine pairs, threshold {threshold:.3}",
                100.0 * tar
            );
        }
        text + &format!("\nphotos without a face that was found: {}", self.failed)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

/// Share of right answers in a fold at the threshold that is best on the other folds, or on the
/// fold itself when it is the only one.
fn fold_accuracy(scored: &[Scored], fold: usize) -> f64 {
    let others: Vec<_> = scored.iter().copied().filter(|s| s.fold != fold).collect();
    let threshold = best_threshold(if others.is_empty() { scored } else { &others });
    let own = scored.iter().filter(|s| s.fold == fold);
    let right = own
        .clone()
        .filter(|s| (s.similarity >= threshold) == s.same)
        .count();
    share(right, own.count())
}

/// The threshold with the most right answers, in the middle between two similarities.
fn best_threshold(scored: &[Scored]) -> f32 {
    let mut sorted: Vec<_> = scored.to_vec();
    sorted.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
    let mut right = sorted.iter().filter(|s| !s.same).count();
    let (mut best, mut threshold) = (right, f32::INFINITY);
    let mut runs = sorted
        .chunk_by(|a, b| a.similarity.total_cmp(&b.similarity).is_eq())
        .peekable();
    while let Some(run) = runs.next() {
        let genuine = run.iter().filter(|s| s.same).count();
        right = right + genuine - (run.len() - genuine);
        if right > best {
            let here = run[0].similarity;
            let next = runs.peek().map(|next| next[0].similarity);
            let next = next.filter(|s| s.is_finite()).unwrap_or(here);
            (best, threshold) = (right, f32::midpoint(here, next));
        }
    }
    threshold
}

/// False match and false non-match rates from the strictest to the laxest threshold.
pub(super) fn trade_off(scored: &[Scored]) -> Vec<(f64, f64)> {
    let mut sorted: Vec<_> = scored.to_vec();
    sorted.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
    let genuine = sorted.iter().filter(|s| s.same).count();
    let impostor = sorted.len() - genuine;
    let (mut accepted, mut false_matches) = (0, 0);
    let mut points = vec![(0.0, 1.0)];
    for run in sorted.chunk_by(|a, b| a.similarity.total_cmp(&b.similarity).is_eq()) {
        let same = run.iter().filter(|s| s.same).count();
        accepted += same;
        false_matches += run.len() - same;
        points.push((
            share(false_matches, impostor),
            1.0 - share(accepted, genuine),
        ));
    }
    points
}

/// Where both rates are the same, on the straight line between the two nearest points.
fn equal_error_rate(points: &[(f64, f64)]) -> f64 {
    let crossing = points.windows(2).find(|w| w[1].0 >= w[1].1);
    let Some(&[(fmr0, fnmr0), (fmr1, fnmr1)]) = crossing else {
        return f64::NAN;
    };
    let (before, after) = (fnmr0 - fmr0, fmr1 - fnmr1);
    let part = if before + after > 0.0 {
        before / (before + after)
    } else {
        0.0
    };
    fmr0 + part * (fmr1 - fmr0)
}

/// Genuine pairs above the strictest threshold that leaves at most `fmr` of the impostors.
fn tar_at(scored: &[Scored], fmr: f64) -> TarAt {
    let mut impostors: Vec<f32> = scored
        .iter()
        .filter(|s| !s.same)
        .map(|s| s.similarity)
        .collect();
    impostors.sort_by(|a, b| b.total_cmp(a));
    let allowed = (0..impostors.len())
        .rev()
        .find(|&n| share(n, impostors.len()) <= fmr);
    // Everything above the first impostor that is not allowed.
    let threshold = impostors
        .get(allowed.unwrap_or(0))
        .map_or(0.0, |s| s.next_up());
    let genuine = scored.iter().filter(|s| s.same);
    let accepted = genuine
        .clone()
        .filter(|s| s.similarity >= threshold)
        .count();
    TarAt {
        fmr,
        tar: share(accepted, genuine.count()),
        threshold,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(genuine: &[f32], impostor: &[f32], folds: usize) -> Vec<Scored> {
        let of = |same: bool| {
            move |(i, &similarity): (usize, &f32)| Scored {
                fold: i % folds,
                same,
                similarity,
            }
        };
        let genuine = genuine.iter().enumerate().map(of(true));
        genuine
            .chain(impostor.iter().enumerate().map(of(false)))
            .collect()
    }

    #[test]
    fn separated_scores_are_perfect() {
        let report = Report::of(&scored(&[0.7, 0.8, 0.9, 0.6], &[0.1, 0.2, 0.3, 0.0], 2), 0);
        assert!((report.accuracy - 1.0).abs() < 1e-9 && report.eer.abs() < 1e-9);
        assert!((report.tar[1].tar - 1.0).abs() < 1e-9);
    }

    #[test]
    fn known_overlap_gives_known_rates() {
        // One of four genuine pairs lies below one of four impostors.
        let scored = scored(&[0.9, 0.8, 0.7, 0.2], &[0.5, 0.1, 0.1, 0.0], 1);
        let report = Report::of(&scored, 0);
        assert!((report.accuracy - 7.0 / 8.0).abs() < 1e-9, "{report:?}");
        assert!((report.eer - 0.25).abs() < 1e-9, "{report:?}");
        assert!(
            (report.tar[0].tar - 0.75).abs() < 1e-9,
            "no impostor is allowed: {report:?}"
        );
        assert!(report.tar[0].threshold > 0.5 && report.tar[0].threshold < 0.51);
    }

    #[test]
    fn a_face_that_is_not_found_is_a_false_non_match() {
        let scored = scored(&[0.9, f32::NEG_INFINITY], &[0.1, f32::NEG_INFINITY], 1);
        let report = Report::of(&scored, 2);
        assert!((report.accuracy - 0.75).abs() < 1e-9, "{report:?}");
        assert!((report.tar[0].tar - 0.5).abs() < 1e-9, "{report:?}");
    }

    #[test]
    fn a_false_match_rate_allows_its_share() {
        let impostors: Vec<f32> = (0u16..200).map(|i| f32::from(i) / 1000.0).collect();
        let at = tar_at(&scored(&[0.1975, 0.3], &impostors, 1), 1e-2);
        assert!(
            at.threshold > 0.197 && at.threshold < 0.1971,
            "two of 200 may pass: {at:?}"
        );
        assert!((at.tar - 1.0).abs() < 1e-9);
    }
}
