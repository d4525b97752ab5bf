//! The quality gate: whether a face is good enough to be compared, and if not, why.
//!
//! The angles come from the five landmarks by a simple head: the tip of the nose stands in front
//! of the plane of eyes and mouth by [`NOSE_DEPTH`] of the distance between the eyes. They are
//! good to some ten degrees, which is enough to refuse a profile.

use smallvec::SmallVec;

use super::align::{AlignedFace, SIDE, TEMPLATE};
use super::detect::Detection;
use crate::image::Point;

/// How far the nose's tip stands out, in distances between the eyes.
const NOSE_DEPTH: f32 = 0.55;
/// A face may reach beyond the image by this share of its box.
const CUT_OFF: f32 = 0.1;

/// What was measured on one face.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quality {
    /// Shorter side of the face box in pixels.
    pub face_px: f32,
    /// Fine detail: the root mean square of the Laplacian of the smoothed luma, in percent of the
    /// luma's standard deviation, over the middle of the aligned face.
    pub sharpness: f32,
    /// Mean luma of the middle of the aligned face, 0..=255.
    pub brightness: f32,
    /// Turn to the side in degrees; positive towards the image's right.
    pub yaw: f32,
    /// Nod in degrees; positive looks down.
    pub pitch: f32,
    /// Tilt of the line through the eyes in degrees; positive is clockwise in the image.
    pub roll: f32,
    /// Distance between the eyes over the distance from the eyes to the mouth: less on a head that
    /// is turned aside.
    pub slimness: f32,
    /// Whether the face reaches beyond the edge of the image.
    pub cut_off: bool,
}

/// What a face has to be like.
#[derive(Clone, Copy, Debug)]
pub struct QualityLimits {
    /// Least [`Quality::face_px`].
    pub min_face_px: f32,
    /// Least [`Quality::sharpness`].
    pub min_sharpness: f32,
    /// Least [`Quality::brightness`].
    pub min_brightness: f32,
    /// Greatest [`Quality::brightness`].
    pub max_brightness: f32,
    /// Greatest [`Quality::yaw`] to either side.
    pub max_yaw: f32,
    /// Greatest [`Quality::pitch`] up or down.
    pub max_pitch: f32,
    /// Greatest [`Quality::roll`] to either side.
    pub max_roll: f32,
}

/// Why a face is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum QualityReason {
    /// Too few pixels: too far away.
    TooSmall,
    /// Out of focus or moving.
    TooBlurred,
    /// Too little light.
    TooDark,
    /// Too much light.
    TooBright,
    /// Looks to the side.
    TurnedAside,
    /// Looks up or down.
    Nodded,
    /// The head is tilted.
    Tilted,
    /// Partly outside the image.
    CutOff,
    /// So many others in the frame are nearer that it is not compared.
    Crowded,
}

/// Reasons of one frame, in their order; they take no memory of their own.
pub type QualityReasons = SmallVec<[QualityReason; 8]>;

impl QualityReason {
    /// The word that events carry.
    pub const fn word(self) -> &'static str {
        match self {
            Self::TooSmall => "too_small",
            Self::TooBlurred => "too_blurred",
            Self::TooDark => "too_dark",
            Self::TooBright => "too_bright",
            Self::TurnedAside => "turned_aside",
            Self::Nodded => "nodded",
            Self::Tilted => "tilted",
            Self::CutOff => "cut_off",
            Self::Crowded => "crowded",
        }
    }
}

impl Quality {
    /// Measures a face that was found in an image of `width` x `height` pixels.
    #[expect(clippy::cast_precision_loss, reason = "image sides are far below 2^24")]
    pub fn measure(
        detection: &Detection,
        aligned: &AlignedFace,
        (width, height): (usize, usize),
    ) -> Self {
        let face = &detection.face;
        let (slack_x, slack_y) = (face.width * CUT_OFF, face.height * CUT_OFF);
        let cut_off = face.x < -slack_x
            || face.y < -slack_y
            || face.x + face.width > width as f32 + slack_x
            || face.y + face.height > height as f32 + slack_y;
        let (yaw, pitch, roll) = angles(&detection.landmarks);
        let slimness = slimness(&detection.landmarks);
        let (brightness, sharpness) = detail(aligned);
        let face_px = face.width.min(face.height);
        Self {
            face_px,
            sharpness,
            brightness,
            yaw,
            pitch,
            roll,
            slimness,
            cut_off,
        }
    }

    /// Every limit that the face breaks; none when it may be compared.
    pub fn refusals(&self, limits: &QualityLimits) -> QualityReasons {
        use QualityReason::{
            CutOff, Nodded, Tilted, TooBlurred, TooBright, TooDark, TooSmall, TurnedAside,
        };
        // No range holds a value that is no number, so that it breaks its limit.
        let below = |value: f32, limit: f32| !(limit..=f32::INFINITY).contains(&value);
        let beyond = |angle: f32, limit: f32| !(-limit..=limit).contains(&angle);
        let broken = [
            (below(self.face_px, limits.min_face_px), TooSmall),
            (below(self.sharpness, limits.min_sharpness), TooBlurred),
            (below(self.brightness, limits.min_brightness), TooDark),
            (self.brightness > limits.max_brightness, TooBright),
            (beyond(self.yaw, limits.max_yaw), TurnedAside),
            (beyond(self.pitch, limits.max_pitch), Nodded),
            (beyond(self.roll, limits.max_roll), Tilted),
            (self.cut_off, CutOff),
        ];
        broken
            .into_iter()
            .filter(|(is, _)| *is)
            .map(|(_, reason)| reason)
            .collect()
    }

    /// A rank for choosing the best of several good faces: large, sharp and frontal. No unit.
    pub fn rank(&self) -> f32 {
        let frontal = (self.yaw.abs() + self.pitch.abs() + self.roll.abs() / 2.0) / 90.0;
        self.face_px.min(200.0) / 200.0 + self.sharpness.min(100.0) / 100.0 - frontal
    }
}

/// Distance between the eyes over the distance between their middle and the mouth's.
fn slimness([right, left, _, mouth_right, mouth_left]: &[Point; 5]) -> f32 {
    let middle = |a: &Point, b: &Point| Point {
        x: (a.x + b.x) / 2.0,
        y: (a.y + b.y) / 2.0,
    };
    right.distance(*left) / middle(right, left).distance(middle(mouth_right, mouth_left))
}

/// Yaw, pitch and roll in degrees.
fn angles(landmarks: &[Point; 5]) -> (f32, f32, f32) {
    let [right, left, nose, mouth_right, mouth_left] = *landmarks;
    let roll = (left.y - right.y).atan2(left.x - right.x);
    let middle = |a: Point, b: Point| Point {
        x: (a.x + b.x) / 2.0,
        y: (a.y + b.y) / 2.0,
    };
    let (eyes, mouth) = (middle(right, left), middle(mouth_right, mouth_left));
    // Upright coordinates with the middle of the eyes at the origin.
    let upright = |p: Point| {
        let (x, y) = (p.x - eyes.x, p.y - eyes.y);
        Point {
            x: x * roll.cos() + y * roll.sin(),
            y: y * roll.cos() - x * roll.sin(),
        }
    };
    let (nose, mouth) = (upright(nose), upright(mouth));
    let between_eyes = right.distance(left);
    let along = nose.y / mouth.y;
    let aside = nose.x - mouth.x * along;
    let yaw = (aside / between_eyes / NOSE_DEPTH).atan();
    let [eye_y, eye_distance, nose_y, mouth_y] = [
        (TEMPLATE[0].y + TEMPLATE[1].y) / 2.0,
        TEMPLATE[1].x - TEMPLATE[0].x,
        TEMPLATE[2].y,
        (TEMPLATE[3].y + TEMPLATE[4].y) / 2.0,
    ];
    let usual = (nose_y - eye_y) / (mouth_y - eye_y);
    let depth = NOSE_DEPTH * eye_distance / (mouth_y - eye_y);
    let pitch = ((along - usual) / depth).atan();
    (yaw.to_degrees(), pitch.to_degrees(), roll.to_degrees())
}

/// Mean luma and sharpness of the middle of the face, where there is no background.
#[expect(clippy::cast_precision_loss, reason = "some thousand pixels")]
fn detail(aligned: &AlignedFace) -> (f32, f32) {
    const FROM: usize = SIDE / 5;
    const TO: usize = SIDE - FROM;
    let mut luma = [0.0f32; SIDE * SIDE];
    for (to, value) in luma.iter_mut().zip(aligned.image().luma()) {
        *to = f32::from(value);
    }
    // A binomial 3 x 3 filter takes the sensor's noise away before the Laplacian multiplies it.
    let mut across = [[0.0; SIDE]; SIDE];
    for (line, luma) in across.iter_mut().zip(luma.chunks_exact(SIDE)) {
        for (to, r) in line[1..].iter_mut().zip(luma.windows(3)) {
            *to = r[0] + 2.0 * r[1] + r[2];
        }
    }
    let mut smooth = [[0.0; SIDE]; SIDE];
    for (line, rows) in smooth[1..].iter_mut().zip(across.windows(3)) {
        for (x, to) in line.iter_mut().enumerate() {
            *to = (rows[0][x] + 2.0 * rows[1][x] + rows[2][x]) / 16.0;
        }
    }
    let (mut sum, mut square, mut edges) = (0.0, 0.0, 0.0);
    for y in FROM..TO {
        for x in FROM..TO {
            let here = smooth[y][x];
            let around = smooth[y][x - 1] + smooth[y][x + 1] + smooth[y - 1][x] + smooth[y + 1][x];
            sum += here;
            square += here * here;
            edges += (around - 4.0 * here).powi(2);
        }
    }
    let n = ((TO - FROM) * (TO - FROM)) as f32;
    let mean = sum / n;
    let deviation = (square / n - mean * mean).max(0.0).sqrt();
    (mean, 100.0 * (edges / n).sqrt() / deviation.max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::FaceBox;
    use crate::image::RgbImage;

    fn detection(landmarks: [Point; 5]) -> Detection {
        let face = FaceBox {
            x: 20.0,
            y: 20.0,
            width: 80.0,
            height: 90.0,
        };
        Detection {
            face,
            score: 0.9,
            landmarks,
        }
    }

    /// The template's head turned by yaw and nodded by pitch, in an orthographic camera.
    fn head(yaw: f32, pitch: f32, roll: f32) -> [Point; 5] {
        let (yaw, pitch, roll) = (yaw.to_radians(), pitch.to_radians(), roll.to_radians());
        let depth = NOSE_DEPTH * (TEMPLATE[1].x - TEMPLATE[0].x);
        let mut points = TEMPLATE;
        for (i, p) in points.iter_mut().enumerate() {
            let z = if i == 2 { depth } else { 0.0 };
            let (x, y) = (p.x - 56.0, p.y - 72.0);
            let (x, z) = (x * yaw.cos() + z * yaw.sin(), z * yaw.cos() - x * yaw.sin());
            let y = y * pitch.cos() + z * pitch.sin();
            let turned = Point {
                x: x * roll.cos() - y * roll.sin(),
                y: x * roll.sin() + y * roll.cos(),
            };
            *p = Point {
                x: turned.x + 100.0,
                y: turned.y + 100.0,
            };
        }
        points
    }

    #[test]
    fn angles_follow_the_head() {
        for (yaw, pitch, roll) in [
            (0., 0., 0.),
            (30., 0., 0.),
            (-45., 0., 0.),
            (0., 25., 0.),
            (0., -20., 15.),
            (20., 10., -30.),
        ] {
            let (y, p, r) = angles(&head(yaw, pitch, roll));
            let close = |a: f32, b: f32| (a - b).abs() < 8.0;
            assert!(
                close(y, yaw) && close(p, pitch) && close(r, roll),
                "{yaw} {pitch} {roll}: {y} {p} {r}"
            );
        }
    }

    /// Stripes of 6 pixels, out of focus by so many passes of a 3-pixel mean.
    fn stripes(level: u8, passes: usize) -> AlignedFace {
        let mut image = RgbImage::new(SIDE, SIDE);
        for (i, p) in image.pixels_mut().chunks_exact_mut(3).enumerate() {
            p.fill(if (i % SIDE / 6).is_multiple_of(2) {
                level
            } else {
                level / 2
            });
        }
        for _ in 0..passes {
            let from = image.clone();
            for y in 0..SIDE {
                for x in 1..SIDE - 1 {
                    let mean = (x - 1..=x + 1)
                        .map(|x| u16::from(from.pixel(x, y)[0]))
                        .sum::<u16>()
                        / 3;
                    image.pixels_mut()[(y * SIDE + x) * 3..][..3].fill(mean.to_le_bytes()[0]);
                }
            }
        }
        let mut aligned = AlignedFace::default();
        assert!(aligned.align(&image, &TEMPLATE));
        aligned
    }

    #[test]
    fn blur_lowers_sharpness_and_light_does_not() {
        let of = |level, passes| {
            Quality::measure(&detection(TEMPLATE), &stripes(level, passes), (640, 480))
        };
        let (bright, dim, soft) = (of(200, 0), of(100, 0), of(200, 6));
        assert!(
            (bright.sharpness - dim.sharpness).abs() < 3.0,
            "{bright:?} {dim:?}"
        );
        assert!(
            soft.sharpness < bright.sharpness * 0.6,
            "{bright:?} {soft:?}"
        );
        assert!((bright.brightness - 150.0).abs() < 4.0 && (dim.brightness - 75.0).abs() < 4.0);
    }

    #[test]
    fn each_broken_limit_is_named() {
        use QualityReason::*;
        let limits = QualityLimits {
            min_face_px: 50.0,
            min_sharpness: 10.0,
            min_brightness: 40.0,
            max_brightness: 220.0,
            max_yaw: 40.0,
            max_pitch: 30.0,
            max_roll: 35.0,
        };
        let good = Quality {
            face_px: 80.,
            sharpness: 30.,
            brightness: 120.,
            ..Quality::default()
        };
        let cases = [
            (good, vec![]),
            (
                Quality {
                    face_px: 49.0,
                    ..good
                },
                vec![TooSmall],
            ),
            (
                Quality {
                    sharpness: 9.0,
                    brightness: 20.0,
                    ..good
                },
                vec![TooBlurred, TooDark],
            ),
            (
                Quality {
                    brightness: 221.0,
                    ..good
                },
                vec![TooBright],
            ),
            (
                Quality {
                    yaw: -41.0,
                    pitch: 31.0,
                    ..good
                },
                vec![TurnedAside, Nodded],
            ),
            (
                Quality {
                    roll: -36.0,
                    cut_off: true,
                    ..good
                },
                vec![Tilted, CutOff],
            ),
            (
                Quality {
                    yaw: f32::NAN,
                    ..good
                },
                vec![TurnedAside],
            ),
            (
                Quality {
                    face_px: f32::NAN,
                    sharpness: f32::NAN,
                    brightness: f32::NAN,
                    ..good
                },
                vec![TooSmall, TooBlurred, TooDark],
            ),
        ];
        for (quality, expected) in cases {
            assert_eq!(quality.refusals(&limits)[..], expected, "{quality:?}");
        }
    }

    #[test]
    fn a_face_beyond_the_edge_is_cut_off() {
        let at = |x: f32, y: f32| {
            let mut found = detection(TEMPLATE);
            (found.face.x, found.face.y) = (x, y);
            Quality::measure(&found, &AlignedFace::default(), (640, 480)).cut_off
        };
        let (across, down) = (|x| at(x, 20.0), |y| at(20.0, y));
        assert!(!across(0.0) && !across(-7.0) && across(-9.0) && !across(567.0) && across(569.0));
        assert!(!down(0.0) && !down(-8.0) && down(-10.0) && !down(398.0) && down(400.0));
    }

    #[test]
    fn the_shorter_side_and_the_distances_of_a_head_are_measured_however_it_is_tilted() {
        let of = |points| Quality::measure(&detection(points), &AlignedFace::default(), (640, 480));
        let upright = of(TEMPLATE);
        assert!((upright.face_px - 80.0).abs() < f32::EPSILON);
        for (yaw, roll, share) in [(0.0, 40.0, 1.0), (60.0, 0.0, 0.5), (60.0, -40.0, 0.5)] {
            let found = of(head(yaw, 0.0, roll)).slimness / upright.slimness;
            assert!((found - share).abs() < 0.05, "{yaw} {roll}: {found}");
        }
    }
}
