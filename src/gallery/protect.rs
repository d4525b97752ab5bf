//! Template protection in the sense of ISO/IEC 24745: a turn of the embedding space that a secret
//! chooses.
//!
//! A turn is orthogonal: lengths and angles stay, so that cosine and Euclidean comparisons of two
//! templates turned alike give what they gave before. Templates turned by different secrets have
//! nothing in common, and without the secret a turned template does not show the face's features.
//! A learned head that compares component by component does not survive a turn.
//!
//! The turn is three rounds of a shuffle, random signs and a fast Walsh-Hadamard transform, which
//! costs `3 D log D` additions instead of the `D * D` products of a matrix. A `D` that is no power
//! of two is cut into blocks that are; the shuffles carry each component through all of them.

use sha2::{Digest, Sha256};

use super::template::{ModelId, Template};
use crate::face::Embedding;

/// After two rounds each component depends on all others; the third makes it even.
const ROUNDS: u8 = 3;

/// An orthogonal transform of embeddings of one size.
#[derive(Clone)]
pub struct Turn {
    rounds: Vec<Round>,
}

/// Memory in which templates are turned, and the last of them.
#[derive(Clone, Debug)]
pub(super) struct Turning {
    values: Vec<f32>,
    shuffled: Vec<f32>,
    embedding: Embedding,
    template: Template,
}

impl Turning {
    pub(super) fn new(model_id: ModelId) -> Self {
        Self {
            values: Vec::new(),
            shuffled: Vec::new(),
            embedding: Embedding::default(),
            template: Template::new(&Embedding::default(), model_id),
        }
    }
}

/// A shuffle and a sign for each component.
#[derive(Clone)]
struct Round {
    order: Vec<usize>,
    signs: Vec<f32>,
}

impl std::fmt::Debug for Turn {
    /// Nothing of the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Turn of {} components", self.size())
    }
}

impl Turn {
    /// The turn of `secret` for embeddings of `size` components.
    pub fn new(secret: &[u8; 32], size: usize) -> Self {
        let round = |number| {
            let mut random = Random::new(secret, number);
            let mut order: Vec<usize> = (0..size).collect();
            for last in (1..size).rev() {
                order.swap(last, random.below(last + 1));
            }
            let sign = |random: &mut Random| if random.below(2) == 0 { 1.0 } else { -1.0 };
            let signs = (0..size).map(|_| sign(&mut random)).collect();
            Round { order, signs }
        };
        Self {
            rounds: (0..ROUNDS).map(round).collect(),
        }
    }

    /// Components of the embeddings that it turns.
    pub fn size(&self) -> usize {
        self.rounds.first().map_or(0, |round| round.order.len())
    }

    /// Turns `template`, which has to be of the turn's size.
    pub fn turned(&self, template: &Template) -> Template {
        let mut turning = Turning::new(template.model_id.clone());
        self.turn(template, &mut turning);
        turning.template
    }

    /// The same in memory that is kept from one template to the next of one model.
    pub(super) fn turn<'a>(&self, template: &Template, turning: &'a mut Turning) -> &'a Template {
        let Turning {
            values,
            shuffled,
            embedding,
            template: turned,
        } = turning;
        embedding.set(template.reals());
        values.clear();
        values.extend_from_slice(embedding.values());
        for Round { order, signs } in &self.rounds {
            shuffled.clear();
            shuffled.extend(order.iter().zip(signs).map(|(&i, sign)| values[i] * sign));
            mix(shuffled);
            std::mem::swap(values, shuffled);
        }
        embedding.set(values.iter().copied());
        turned.set(embedding);
        turned
    }

    /// Undoes [`Turn::turned`], but for the rounding to int8.
    pub fn turned_back(&self, template: &Template) -> Template {
        let mut values = template.embedding().values().to_vec();
        for Round { order, signs } in self.rounds.iter().rev() {
            mix(&mut values);
            let mut before = vec![0.0; values.len()];
            for ((&i, sign), value) in order.iter().zip(signs).zip(&values) {
                before[i] = value * sign;
            }
            values = before;
        }
        Template::new(&Embedding::new(values), template.model_id.clone())
    }
}

/// The Walsh-Hadamard transform of unit length, which is its own inverse, on blocks that are powers
/// of two.
#[expect(clippy::cast_precision_loss, reason = "a few thousand components")]
fn mix(mut values: &mut [f32]) {
    while !values.is_empty() {
        let (block, rest) = values.split_at_mut(1 << values.len().ilog2());
        let mut half = 1;
        while half < block.len() {
            for pair in block.chunks_exact_mut(2 * half) {
                let (left, right) = pair.split_at_mut(half);
                for (a, b) in left.iter_mut().zip(right) {
                    (*a, *b) = (*a + *b, *a - *b);
                }
            }
            half *= 2;
        }
        let length = (block.len() as f32).sqrt();
        block.iter_mut().for_each(|value| *value /= length);
        values = rest;
    }
}

/// Numbers from SHA-256 in counter mode: the same on every machine, for ever.
struct Random<'a> {
    secret: &'a [u8; 32],
    round: u8,
    counter: u64,
    block: Vec<u8>,
}

impl<'a> Random<'a> {
    fn new(secret: &'a [u8; 32], round: u8) -> Self {
        Self {
            secret,
            round,
            counter: 0,
            block: Vec::new(),
        }
    }

    /// A number below `end`. Out of 2^64, a remainder is even enough.
    fn below(&mut self, end: usize) -> usize {
        if self.block.len() < 8 {
            let hash = Sha256::new()
                .chain_update(self.secret)
                .chain_update([self.round])
                .chain_update(self.counter.to_le_bytes());
            self.block = hash.finalize().to_vec();
            self.counter += 1;
        }
        let number = self
            .block
            .drain(..8)
            .fold(0, |n, byte| n << 8 | u64::from(byte));
        #[expect(clippy::cast_possible_truncation, reason = "below a usize")]
        let number = (number % end as u64) as usize;
        number
    }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
mod tests {
    use super::*;
    use crate::gallery::{Metric, ModelId};

    const SIZES: [usize; 8] = [1, 2, 3, 64, 100, 128, 192, 512];

    /// Made of the same components, a little apart for each `variant`: faces of one `person`.
    fn template(person: u64, variant: u64, size: usize) -> Template {
        let component = |seed: u64, i: usize| {
            let mut x = (seed << 20 | i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            (x >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        let value = |i| component(person, i) + 0.4 * component(person * 1000 + variant, i);
        let values = (0..size).map(value).collect();
        Template::new(&Embedding::new(values), ModelId("m".to_owned()))
    }

    fn cosine(a: &Template, b: &Template) -> f32 {
        Metric::Cosine.similarity(a, b)
    }

    #[test]
    fn a_turn_keeps_every_comparison_within_the_rounding_to_int8() {
        for size in SIZES {
            let turn = Turn::new(&[7; 32], size);
            assert_eq!(turn.size(), size);
            for (a, b) in [((1, 1), (1, 2)), ((1, 1), (2, 1)), ((3, 1), (3, 1))] {
                let (a, b) = (template(a.0, a.1, size), template(b.0, b.1, size));
                let (ta, tb) = (turn.turned(&a), turn.turned(&b));
                for metric in [Metric::Cosine, Metric::Euclidean] {
                    let (before, after) = (metric.similarity(&a, &b), metric.similarity(&ta, &tb));
                    // A distance near 0 is the square root of the rounding.
                    let rounding = if before > 0.9 { 0.02 } else { 0.005 };
                    assert!(
                        (before - after).abs() < rounding,
                        "{size} {}: {before} became {after}",
                        metric.name()
                    );
                }
            }
        }
    }

    #[test]
    fn a_turn_can_be_undone() {
        for size in SIZES {
            let (turn, template) = (Turn::new(&[7; 32], size), template(1, 1, size));
            let back = turn.turned_back(&turn.turned(&template));
            assert!(cosine(&template, &back) > 0.9995, "{size}");
        }
    }

    #[test]
    fn templates_of_two_secrets_are_like_those_of_strangers() {
        let (here, there) = (Turn::new(&[1; 32], 512), Turn::new(&[2; 32], 512));
        let (mut mated, mut strangers) = (Vec::new(), Vec::new());
        for person in 1..200 {
            let (a, b) = (template(person, 1, 512), template(person, 2, 512));
            assert!(cosine(&here.turned(&a), &here.turned(&b)) > 0.7);
            mated.push(cosine(&here.turned(&a), &there.turned(&b)));
            strangers.push(cosine(&a, &template(person + 1, 1, 512)));
        }
        let spread =
            |all: &[f32]| (all.iter().map(|s| s * s).sum::<f32>() / all.len() as f32).sqrt();
        let mean = |all: &[f32]| all.iter().sum::<f32>() / all.len() as f32;
        // Two directions by chance: mean 0, spread 1 / sqrt(512) = 0.044.
        assert!(mean(&mated).abs() < 0.015, "{}", mean(&mated));
        assert!(
            spread(&mated) < 1.2 * spread(&strangers).max(0.044),
            "{}",
            spread(&mated)
        );
        assert!(mated.iter().all(|s| s.abs() < 0.25));
    }

    #[test]
    fn every_component_reaches_every_other() {
        for size in [100, 512] {
            let turn = Turn::new(&[3; 32], size);
            for at in [0, size / 2, size - 1] {
                let mut values = vec![0.0; size];
                values[at] = 1.0;
                let single = Template::new(&Embedding::new(values), ModelId("m".to_owned()));
                let turned = turn.turned(&single);
                let touched = turned.values.iter().filter(|&&v| v != 0).count();
                assert!(touched > size / 2, "{at} of {size} reaches {touched}");
                assert!(turned.embedding().values().iter().all(|v| v.abs() < 0.6));
            }
        }
    }

    #[test]
    fn a_turn_is_the_same_on_every_machine() {
        let plain = Template::new(
            &Embedding::new(vec![1., 2., 3., 4., 5., 6., 7., 8.]),
            ModelId("m".to_owned()),
        );
        let turned = Turn::new(&[7; 32], 8).turned(&plain);
        assert_eq!(turned.values, [-89, 12, 127, -94, 94, 83, -12, -33]);
    }
}
