//! Following faces from frame to frame: one track for one visit.
//!
//! A track goes on with the nearest face of the next frame, by place and size alone; it never
//! looks at who somebody is.

use std::time::Duration;

use smallvec::SmallVec;

use super::detect::{Detection, FaceBox};

/// Number of a track; never used twice while the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId(pub u64);

#[derive(Debug)]
struct Track {
    id: TrackId,
    face: FaceBox,
    seen: Duration,
}

/// The faces that are being followed.
#[derive(Debug)]
pub struct Tracker {
    tracks: Vec<Track>,
    next: u64,
    gap: Duration,
}

impl Tracker {
    /// A track that is not seen for `gap` has ended.
    pub fn new(gap: Duration) -> Self {
        Self {
            tracks: Vec::new(),
            next: 0,
            gap,
        }
    }

    /// Goes on with the tracks of `old`, by its own gap.
    pub fn succeed(&mut self, old: Self) {
        self.tracks = old.tracks;
        self.next = old.next;
    }

    /// Assigns the faces of a frame taken at `now` to tracks, one for each face in their order.
    pub fn follow(&mut self, found: &[Detection], now: Duration) -> SmallVec<[TrackId; 4]> {
        let mut pairs: SmallVec<[(f32, usize, usize); 16]> = SmallVec::new();
        for (t, track) in self.tracks.iter().enumerate() {
            for (d, detection) in found.iter().enumerate() {
                let away = remoteness(&track.face, &detection.face);
                if away < 1.0 {
                    pairs.push((away, t, d));
                }
            }
        }
        pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let mut of_track: SmallVec<[Option<usize>; 4]> =
            SmallVec::from_elem(None, self.tracks.len());
        let mut of_face: SmallVec<[Option<usize>; 4]> = SmallVec::from_elem(None, found.len());
        for (_, t, d) in pairs {
            if of_track[t].is_none() && of_face[d].is_none() {
                of_track[t] = Some(d);
                of_face[d] = Some(t);
            }
        }
        let mut ids = SmallVec::with_capacity(found.len());
        for (detection, track) in found.iter().zip(of_face) {
            let face = detection.face;
            let id = match track {
                Some(t) => {
                    let track = &mut self.tracks[t];
                    (track.face, track.seen) = (face, now);
                    track.id
                }
                None => {
                    let id = TrackId(self.next);
                    self.next += 1;
                    self.tracks.push(Track {
                        id,
                        face,
                        seen: now,
                    });
                    id
                }
            };
            ids.push(id);
        }
        ids
    }

    /// Whether nobody is followed.
    pub fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// Forgets the tracks that have ended by `now` and returns them.
    pub fn ended(&mut self, now: Duration) -> Vec<TrackId> {
        let gap = self.gap;
        let over = self
            .tracks
            .extract_if(.., |track| now.saturating_sub(track.seen) >= gap);
        over.map(|track| track.id).collect()
    }
}

/// How far two boxes are from being the same face a moment later: below 1 when the centres are
/// closer than the wider box and the widths differ by less than half.
fn remoteness(a: &FaceBox, b: &FaceBox) -> f32 {
    let wider = a.width.max(b.width);
    if a.width.min(b.width) < wider / 2.0 {
        return f32::INFINITY;
    }
    a.centre().distance(b.centre()) / wider
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::Landmarks;

    fn face(x: f32, width: f32) -> Detection {
        let face = FaceBox {
            x,
            y: 100.0,
            width,
            height: width,
        };
        Detection {
            face,
            score: 0.9,
            landmarks: Landmarks::default(),
        }
    }

    fn at(tenths: u64) -> Duration {
        Duration::from_millis(tenths * 100)
    }

    #[test]
    fn a_walking_face_keeps_its_track_and_two_faces_keep_apart() {
        let mut tracker = Tracker::new(at(10));
        let first = tracker.follow(&[face(0.0, 80.0), face(300.0, 90.0)], at(0));
        assert_eq!(first[..], [TrackId(0), TrackId(1)]);
        let swapped = tracker.follow(&[face(280.0, 92.0), face(40.0, 84.0)], at(1));
        assert_eq!(swapped[..], [TrackId(1), TrackId(0)]);
        assert_eq!(tracker.follow(&[face(80.0, 86.0)], at(2))[..], [TrackId(0)]);
        assert!(tracker.ended(at(10)).is_empty());
        assert_eq!(tracker.ended(at(11)), [TrackId(1)]);
        assert_eq!(
            tracker.follow(&[face(90.0, 86.0)], at(11))[..],
            [TrackId(0)],
            "seen 0.9 s ago"
        );
        assert_eq!(tracker.ended(at(21)), [TrackId(0)]);
        assert_eq!(
            tracker.follow(&[face(90.0, 86.0)], at(22))[..],
            [TrackId(2)],
            "a new visit"
        );
    }

    #[test]
    fn the_nearest_go_together_before_the_others() {
        let mut tracker = Tracker::new(at(10));
        tracker.follow(&[face(0.0, 80.0), face(60.0, 80.0)], at(0));
        let nearer = tracker.follow(&[face(50.0, 80.0), face(-50.0, 80.0)], at(1));
        assert_eq!(nearer[..], [TrackId(1), TrackId(0)]);
    }

    #[test]
    fn a_successor_goes_on_with_tracks_and_numbers() {
        let mut old = Tracker::new(at(10));
        old.follow(&[face(0.0, 80.0), face(300.0, 80.0)], at(0));
        let mut tracker = Tracker::new(at(20));
        tracker.succeed(old);
        let found = tracker.follow(&[face(310.0, 80.0), face(600.0, 80.0)], at(1));
        assert_eq!(found[..], [TrackId(1), TrackId(2)], "no number twice");
        assert!(tracker.ended(at(19)).is_empty());
        assert_eq!(tracker.ended(at(20)), [TrackId(0)], "by its own gap");
    }

    #[test]
    fn a_jump_or_another_size_is_another_face() {
        let mut tracker = Tracker::new(at(10));
        tracker.follow(&[face(0.0, 80.0)], at(0));
        assert_eq!(
            tracker.follow(&[face(200.0, 80.0)], at(1))[..],
            [TrackId(1)]
        );
        assert_eq!(tracker.follow(&[face(20.0, 30.0)], at(2))[..], [TrackId(2)]);
    }
}
