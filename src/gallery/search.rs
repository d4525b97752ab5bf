//! The gallery in memory, and the search of a probe in it.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use super::calibration::ThresholdPolicy;
use super::metric::{Metric, Vector};
use super::protect::{Turn, Turning};
use super::template::{ModelId, Template};

/// A subject and how alike the probe is to the best of its templates.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The subject's name.
    pub subject: Arc<str>,
    /// Similarity of the best template.
    pub similarity: f32,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    /// The most similar subject; none in an empty gallery.
    pub best: Option<Candidate>,
    /// The most similar other subject.
    pub runner_up: Option<Candidate>,
    /// Similarity that the best has to reach.
    pub threshold: f32,
}

impl Match {
    /// The best subject, when it reaches the threshold.
    pub fn accepted(&self) -> Option<&Candidate> {
        self.best
            .as_ref()
            .filter(|best| best.similarity >= self.threshold)
    }
}

/// What a comparison with one subject gave (1:1).
#[derive(Clone, Debug, PartialEq)]
pub struct Verification {
    /// That subject.
    pub subject: Arc<str>,
    /// Similarity of the best template.
    pub similarity: f32,
    /// What it has to reach.
    pub threshold: f32,
    /// How many templates the subject has.
    pub templates: usize,
}

impl Verification {
    /// Whether it is that subject.
    pub fn is_accepted(&self) -> bool {
        self.similarity >= self.threshold
    }
}

/// The templates of two models cannot be compared.
#[derive(Debug, thiserror::Error)]
#[error(
    "a template of model {theirs} cannot be compared with model {ours}; enrol the person again \
     with the present model"
)]
pub struct ModelMismatch {
    /// The gallery's model.
    pub ours: ModelId,
    /// The other one.
    pub theirs: ModelId,
}

/// Enrolled people, by templates of one model.
#[derive(Clone, Debug)]
pub struct Gallery {
    model_id: ModelId,
    metric: Metric,
    policy: ThresholdPolicy,
    /// Subjects in the order of their names, each with where its templates are in `rows`.
    subjects: Vec<(Arc<str>, Range<usize>)>,
    /// Where each template is in `values`, and its norm.
    rows: Vec<(Range<usize>, f32)>,
    /// All templates one after the other, so that a search reads memory from end to end.
    values: Vec<i8>,
    /// How these templates are turned, and so every probe before it is compared with them.
    turn: Option<Turn>,
    turning: RefCell<Turning>,
}

impl Gallery {
    /// An empty gallery.
    pub fn new(model_id: ModelId, metric: Metric, policy: ThresholdPolicy) -> Self {
        Self {
            turning: RefCell::new(Turning::new(model_id.clone())),
            model_id,
            metric,
            policy,
            subjects: Vec::new(),
            rows: Vec::new(),
            values: Vec::new(),
            turn: None,
        }
    }

    /// Replaces everybody by templates that `turn` has turned. Probes come as they are.
    ///
    /// # Errors
    /// [`ModelMismatch`], and the gallery stays as it was.
    ///
    /// # Panics
    /// When the metric does not survive a turn.
    pub fn fill_turned(
        &mut self,
        templates: Vec<(String, Template)>,
        turn: Turn,
    ) -> Result<(), ModelMismatch> {
        assert!(self.metric.survives_a_turn(), "{}", self.metric.name());
        self.fill(templates)?;
        self.turn = Some(turn);
        Ok(())
    }

    /// Replaces everybody.
    ///
    /// # Errors
    /// [`ModelMismatch`], and the gallery stays as it was.
    pub fn fill(&mut self, mut templates: Vec<(String, Template)>) -> Result<(), ModelMismatch> {
        for (_, template) in &templates {
            self.check(template)?;
        }
        templates.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.subjects.clear();
        self.rows.clear();
        self.values.clear();
        self.turn = None;
        for (subject, template) in templates {
            let start = self.values.len();
            self.values.extend_from_slice(&template.values);
            let norm = Vector::from(&template).norm;
            self.rows.push((start..self.values.len(), norm));
            let row = self.rows.len();
            match self.subjects.last_mut() {
                Some((name, rows)) if **name == *subject => rows.end = row,
                _ => self.subjects.push((subject.into(), row - 1..row)),
            }
        }
        Ok(())
    }

    /// Knows nobody any more whom `stays` does not name. Their templates stay in memory until the next
    /// filling, and the thresholds are those of before.
    pub fn keep(&mut self, stays: impl Fn(&str) -> bool) {
        self.subjects.retain(|(name, _)| stays(name));
    }

    /// The model that the templates are of.
    pub fn model_id(&self) -> &ModelId {
        &self.model_id
    }

    /// How similarity is measured.
    pub fn metric(&self) -> &Metric {
        &self.metric
    }

    /// Number of subjects.
    pub fn len(&self) -> usize {
        self.subjects.len()
    }

    /// Whether nobody is enrolled.
    pub fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    /// Who the probe is most like (1:N).
    ///
    /// # Errors
    /// [`ModelMismatch`].
    pub fn search(&self, probe: &Template) -> Result<Match, ModelMismatch> {
        self.check(probe)?;
        let mut turning = self.turning.borrow_mut();
        let probe = self.turned(probe, &mut turning);
        let mut found = Match {
            threshold: self.threshold(),
            ..Match::default()
        };
        for (subject, rows) in &self.subjects {
            let Some(similarity) = self.best(probe, rows) else {
                continue;
            };
            let beats =
                |c: &Option<Candidate>| c.as_ref().is_none_or(|c| similarity > c.similarity);
            let candidate = || {
                Some(Candidate {
                    subject: subject.clone(),
                    similarity,
                })
            };
            if beats(&found.best) {
                found.runner_up = std::mem::replace(&mut found.best, candidate());
            } else if beats(&found.runner_up) {
                found.runner_up = candidate();
            }
        }
        Ok(found)
    }

    /// Similarity of two templates and what it has to reach (1:1).
    ///
    /// # Errors
    /// [`ModelMismatch`].
    pub fn compare(&self, a: &Template, b: &Template) -> Result<(f32, f32), ModelMismatch> {
        self.check(a)?;
        self.check(b)?;
        Ok((self.metric.similarity(a, b), self.policy.verification()))
    }

    /// How alike the probe is to one subject, and what that has to reach (1:1); `None` when nobody
    /// of this name is enrolled. Several templates are several chances, so that each has to be
    /// better.
    ///
    /// # Errors
    /// [`ModelMismatch`].
    pub fn verify(
        &self,
        probe: &Template,
        subject: &str,
    ) -> Result<Option<Verification>, ModelMismatch> {
        self.check(probe)?;
        let mut turning = self.turning.borrow_mut();
        let probe = self.turned(probe, &mut turning);
        Ok(self.entry_of(subject).and_then(|(subject, rows)| {
            Some(Verification {
                subject: Arc::clone(subject),
                similarity: self.best(probe, rows)?,
                threshold: self.policy.verification_of(rows.len()),
                templates: rows.len(),
            })
        }))
    }

    /// The probe as these templates are turned.
    fn turned<'a>(&self, probe: &'a Template, turning: &'a mut Turning) -> Vector<'a> {
        Vector::from(match &self.turn {
            Some(turn) => turn.turn(probe, turning),
            None => probe,
        })
    }

    /// Whether somebody of this name is enrolled.
    pub fn knows(&self, subject: &str) -> bool {
        self.entry_of(subject).is_some()
    }

    /// The similarity that a stranger reaches with probability `fmr` to one of so many `templates`.
    pub fn similarity_at(&self, fmr: f64, templates: usize) -> f32 {
        self.policy.calibrated(fmr, templates)
    }

    fn entry_of(&self, subject: &str) -> Option<&(Arc<str>, Range<usize>)> {
        let at = self
            .subjects
            .binary_search_by(|(name, _)| (**name).cmp(subject));
        at.ok().map(|at| &self.subjects[at])
    }

    /// Similarity of the template among `rows` that the probe is most like.
    fn best(&self, probe: Vector<'_>, rows: &Range<usize>) -> Option<f32> {
        let similarity = |(place, norm): &(Range<usize>, f32)| {
            let values = &self.values[place.clone()];
            let norm = *norm;
            self.metric.similarity(probe, Vector { values, norm })
        };
        self.rows[rows.clone()]
            .iter()
            .map(similarity)
            .reduce(f32::max)
    }

    /// What a search's best has to reach at the present size of the gallery.
    pub fn threshold(&self) -> f32 {
        self.policy.identification(self.rows.len())
    }

    fn check(&self, template: &Template) -> Result<(), ModelMismatch> {
        if template.model_id == self.model_id {
            return Ok(());
        }
        Err(ModelMismatch {
            ours: self.model_id.clone(),
            theirs: template.model_id.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::Embedding;

    fn template(values: &[f32], model: &str) -> Template {
        Template::new(&Embedding::new(values.to_vec()), ModelId(model.to_owned()))
    }

    fn gallery() -> Gallery {
        let policy = ThresholdPolicy {
            fmr: 1e-4,
            fpir: 1e-4,
            threshold: Some(0.8),
            calibration: None,
        };
        Gallery::new(ModelId("m".to_owned()), Metric::Cosine, policy)
    }

    #[test]
    fn who_is_not_kept_is_nobody_any_more() {
        let mut gallery = gallery();
        let people = [("ada", [1., 0.]), ("bela", [0., 1.]), ("cleo", [-1., 0.])];
        let people = people.map(|(name, v)| (name.to_owned(), template(&v, "m")));
        gallery.fill(people.to_vec()).expect("one model");
        gallery.keep(|name| name != "bela");
        assert!(gallery.len() == 2 && gallery.knows("cleo") && !gallery.knows("bela"));
        let best = |v: &[f32]| gallery.search(&template(v, "m")).unwrap().best.unwrap();
        assert_eq!(&*best(&[-1.0, 0.0]).subject, "cleo");
        assert!(
            best(&[0.0, 1.0]).similarity < 0.1,
            "bela's template is not compared"
        );
    }

    #[test]
    fn the_best_template_of_each_subject_counts() {
        let mut gallery = gallery();
        let people = [("bela", [0., 1.]), ("ada", [1., 0.]), ("bela", [1., 1.])];
        let people = people.map(|(name, v)| (name.to_owned(), template(&v, "m")));
        gallery.fill(people.to_vec()).expect("one model");
        assert_eq!(gallery.len(), 2);
        let found = gallery
            .search(&template(&[1.0, 0.1], "m"))
            .expect("same model");
        let named = |c: &Option<Candidate>| c.as_ref().map(|c| c.subject.clone());
        assert_eq!(named(&found.best).as_deref(), Some("ada"));
        assert_eq!(named(&found.runner_up).as_deref(), Some("bela"));
        assert!(found.accepted().is_some());
        let stranger = gallery
            .search(&template(&[-1.0, -1.0], "m"))
            .expect("same model");
        assert!(stranger.accepted().is_none());

        let probe = template(&[0.1, 1.0], "m");
        let verified = |name| gallery.verify(&probe, name).expect("same model");
        let bela = verified("bela").expect("is enrolled");
        assert!(bela.is_accepted() && bela.similarity > 0.9, "{bela:?}");
        assert_eq!(bela.templates, 2);
        assert!(!verified("ada").expect("is enrolled").is_accepted());
        assert_eq!(verified("cleo"), None);
        assert!(gallery.knows("ada") && !gallery.knows("cleo"));
    }

    #[test]
    fn the_runner_up_is_the_second_in_whatever_order_people_come() {
        let faces = [[1.0, 0.0], [1.0, 0.3], [0.0, 1.0]];
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let mut gallery = gallery();
            let people = ["ada", "bela", "cleo"].iter().zip(order);
            let people = people.map(|(name, i)| ((*name).to_owned(), template(&faces[i], "m")));
            gallery.fill(people.collect()).expect("one model");
            let found = gallery.search(&template(&[1.0, 0.0], "m"));
            let found = found.expect("same model");
            let second = found.runner_up.expect("three people");
            assert!((second.similarity - 0.958).abs() < 0.01, "{order:?}");
            assert!(found.best.expect("three people").similarity > 0.999);
        }
    }

    #[test]
    fn a_turned_gallery_finds_the_same_people() {
        let faces = [("ada", [1.0, 0.2, 0.1]), ("bela", [0.0, 1.0, 0.3])];
        let faces = faces.map(|(name, v)| (name.to_owned(), template(&v, "m")));
        let (mut plain, mut turned) = (gallery(), gallery());
        plain.fill(faces.to_vec()).expect("one model");
        let turn = Turn::new(&[1; 32], 3);
        let hidden = faces.map(|(name, t)| (name, turn.turned(&t)));
        turned
            .fill_turned(hidden.to_vec(), turn)
            .expect("one model");
        let probe = template(&[0.9, 0.3, 0.0], "m");
        let search = |gallery: &Gallery| gallery.search(&probe).expect("same model");
        let (plain, turned) = (search(&plain), search(&turned));
        for (a, b) in [
            (plain.best, turned.best),
            (plain.runner_up, turned.runner_up),
        ] {
            let (a, b) = (a.expect("found"), b.expect("found"));
            assert_eq!(a.subject, b.subject);
            assert!((a.similarity - b.similarity).abs() < 0.02, "{a:?} {b:?}");
        }
    }

    #[test]
    fn an_empty_gallery_matches_nobody() {
        let found = gallery()
            .search(&template(&[1.0, 0.0], "m"))
            .expect("same model");
        assert_eq!(
            (found.best.is_none(), found.accepted().is_none()),
            (true, true)
        );
    }

    #[test]
    fn templates_of_another_model_are_refused() {
        let mut gallery = gallery();
        let ada = ("ada".to_owned(), template(&[1.0, 0.0], "m"));
        gallery.fill(vec![ada]).expect("one model");
        let other = template(&[1.0, 0.0], "another");
        assert!(gallery.search(&other).is_err());
        assert!(
            gallery
                .fill(vec![("bela".to_owned(), other.clone())])
                .is_err()
        );
        assert!(gallery.knows("ada"), "it stays as it was");
        assert!(
            gallery
                .compare(&template(&[1.0, 0.0], "m"), &other)
                .is_err()
        );
    }
}
