//! Lists of pairs in the format of LFW's View 2 (Huang et al. 2007).
//!
//! The first line holds the number of folds and of pairs per kind and fold. Each fold then lists
//! its pairs of one person (`name i j`) and its pairs of two (`name i name j`).

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

/// A photo: a person's name and a number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Photo {
    pub(super) person: String,
    pub(super) number: u32,
}

/// Two photos.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) fold: usize,
    pub(super) same: bool,
    pub(super) first: Photo,
    pub(super) second: Photo,
}

/// All pairs of a list.
#[derive(Debug)]
pub(super) struct PairList(Vec<Pair>);

impl PairList {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the pairs {}", path.display()))?;
        Self::parse(&text).with_context(|| {
            format!(
                "{} is no list of pairs in the format of LFW's View 2",
                path.display()
            )
        })
    }

    fn parse(text: &str) -> Result<Self> {
        let mut lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty());
        let header = lines.next().context("it is empty")?.1;
        let numbers: Vec<usize> = header
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()
            .with_context(|| {
                format!("line 1 is \"{header}\", expected the numbers of folds and pairs")
            })?;
        let &[folds, per_kind] = &numbers[..] else {
            bail!("line 1 is \"{header}\", expected two numbers: folds, and pairs per kind");
        };
        ensure!(
            folds > 0 && per_kind > 0,
            "line 1 is \"{header}\", expected numbers above 0"
        );
        let expected = folds.saturating_mul(per_kind).saturating_mul(2);
        let mut pairs = Vec::new();
        for (i, line) in lines {
            let place = pairs.len() / per_kind;
            let fields: Vec<&str> = line.split_whitespace().collect();
            let photo = |person: &str, number: &str| -> Result<Photo> {
                let number = number
                    .parse()
                    .with_context(|| format!("line {}: \"{number}\" is no number", i + 1))?;
                Ok(Photo {
                    person: person.to_owned(),
                    number,
                })
            };
            let (same, first, second) = match fields[..] {
                [person, a, b] => (true, photo(person, a)?, photo(person, b)?),
                [one, a, other, b] => (false, photo(one, a)?, photo(other, b)?),
                _ => bail!("line {} is \"{line}\", expected 3 or 4 fields", i + 1),
            };
            ensure!(
                same == (place % 2 == 0),
                "line {} is a pair of {}, expected the other kind here",
                i + 1,
                if same { "one person" } else { "two people" }
            );
            pairs.push(Pair {
                fold: place / 2,
                same,
                first,
                second,
            });
        }
        ensure!(
            pairs.len() == expected,
            "it has {} pairs, but its first line promises {expected}",
            pairs.len()
        );
        Ok(Self(pairs))
    }

    pub(super) fn pairs(&self) -> &[Pair] {
        &self.0
    }

    /// Every photo once.
    pub(super) fn photos(&self) -> Vec<Photo> {
        let all = self.0.iter().flat_map(|pair| [&pair.first, &pair.second]);
        all.cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_and_kinds_are_told_apart() {
        let list = PairList::parse("2\t1\nA 1 2\nA 1 B 3\nC 4 5\nC\t4\tA\t2\n").expect("parses");
        let kinds: Vec<_> = list.pairs().iter().map(|p| (p.fold, p.same)).collect();
        assert_eq!(kinds, [(0, true), (0, false), (1, true), (1, false)]);
        assert_eq!(list.photos().len(), 5);
    }

    #[test]
    fn a_wrong_list_names_its_line() {
        let cases = [
            ("", "empty"),
            ("many\nA 1 2\n", "line 1"),
            ("1 1 1\nA 1 2\nA 1 B 3\n", "two numbers"),
            ("1 1\nA 1 x\n", "line 2: \"x\""),
            ("1 1\nA 1\n", "line 2"),
            ("1 1\nA 1 B 3\n", "line 2 is a pair of two people"),
            (
                "1 2\nA 1 2\nA 1 3\nA 1 B 1\n",
                "3 pairs, but its first line promises 4",
            ),
        ];
        for (text, expected) in cases {
            let error = format!("{:#}", PairList::parse(text).expect_err(expected));
            assert!(error.contains(expected), "{error} should say {expected}");
        }
    }
}
