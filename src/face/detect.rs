//! Finding faces: a YuNet-style network, its boxes and five landmarks.

use smallvec::SmallVec;

use crate::image::{Fit, Picture, Point, RgbImage};
use crate::inference::{DetectionSpec, ModelError, ModelFile, Network, Outputs, Report};

/// Cell sizes of the network's three grids, in pixels of its input, and the outputs for scores (two), boxes
/// and landmarks.
const GRIDS: [(usize, [&str; 4]); 3] = [
    (8, ["cls_8", "obj_8", "bbox_8", "kps_8"]),
    (16, ["cls_16", "obj_16", "bbox_16", "kps_16"]),
    (32, ["cls_32", "obj_32", "bbox_32", "kps_32"]),
];
/// Both sides of the network's input are multiples of this.
const STEP: usize = 32;
/// Input sizes for which a planned network is kept.
const KEPT_SIZES: usize = 4;

/// An upright rectangle in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FaceBox {
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

impl FaceBox {
    /// Intersection over union, 0..=1.
    pub fn overlap(&self, other: &Self) -> f32 {
        let width = (self.x + self.width).min(other.x + other.width) - self.x.max(other.x);
        let height = (self.y + self.height).min(other.y + other.height) - self.y.max(other.y);
        let both = width.max(0.0) * height.max(0.0);
        let either = self.width * self.height + other.width * other.height - both;
        if either > 0.0 { both / either } else { 0.0 }
    }

    /// The middle.
    pub fn centre(&self) -> Point {
        Point {
            x: self.x + self.width / 2.0,
            y: self.y + self.height / 2.0,
        }
    }
}

/// Right eye, left eye, tip of the nose, right and left corner of the mouth; the person's right is
/// on the left of the image. Pixels.
pub type Landmarks = [Point; 5];

/// The faces of a frame, the surest first. A few take no memory of their own.
pub type Detections = SmallVec<[Detection; 4]>;

/// A face that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Where.
    pub face: FaceBox,
    /// How surely, 0..=1.
    pub score: f32,
    /// Its landmarks.
    pub landmarks: Landmarks,
}

/// How the detector is used.
#[derive(Clone, Copy, Debug)]
pub struct DetectorSettings {
    /// Longest side in pixels of what the network sees; larger images are scaled down.
    pub max_side: usize,
    /// Least score; the model's own when none is given.
    pub score: Option<f32>,
}

/// Finds faces in images of any size.
pub struct Detector {
    model: ModelFile,
    settings: DetectorSettings,
    spec: DetectionSpec,
    /// Networks planned for the sizes used last, the latest at the end.
    networks: Vec<Network>,
    fit: Fit,
    canvas: RgbImage,
    /// Boxes before suppression.
    found: Vec<Detection>,
}

impl Detector {
    /// Plans the network for its usual size, so that a model that does not fit is refused here.
    ///
    /// # Errors
    /// What [`Network::new`] says, and [`ModelError::Shape`] for outputs that are not YuNet's.
    pub fn new(model: ModelFile, settings: DetectorSettings) -> Result<Self, ModelError> {
        let spec = model.spec.detection.unwrap_or(DetectionSpec {
            score: 0.6,
            nms_iou: 0.3,
        });
        let (fit, canvas) = (Fit::default(), RgbImage::default());
        let mut detector = Self {
            model,
            settings,
            spec,
            networks: Vec::new(),
            fit,
            canvas,
            found: Vec::new(),
        };
        let (width, height) = (
            detector.model.spec.input.width,
            detector.model.spec.input.height,
        );
        detector.detect(&RgbImage::new(width.max(1), height.max(1)))?;
        Ok(detector)
    }

    /// How much of the network runs in integers.
    pub fn arithmetic(&self) -> Option<&Report> {
        self.networks.last().map(Network::arithmetic)
    }

    /// Name of the model.
    pub fn name(&self) -> &str {
        &self.model.name
    }

    /// All faces in `picture`, the surest first.
    ///
    /// # Errors
    /// What the network says.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "image sides are far below 2^24"
    )]
    pub fn detect<'a>(
        &mut self,
        picture: impl Into<Picture<'a>>,
    ) -> Result<Detections, ModelError> {
        let picture = picture.into();
        let longest = picture.width().max(picture.height());
        let scale = (self.settings.max_side as f32 / longest as f32).min(1.0);
        let scaled = |side: usize| ((side as f32 * scale).round() as usize).max(1);
        let (width, height) = (scaled(picture.width()), scaled(picture.height()));
        let size = (width.next_multiple_of(STEP), height.next_multiple_of(STEP));
        self.canvas.reshape(size.0, size.1);
        self.fit.fit(picture, width, height, &mut self.canvas);
        self.plan(size)?;
        let Some(network) = self.networks.last_mut() else {
            return Ok(Detections::new());
        };
        let outputs = network.run(&self.canvas)?;
        let least = self.settings.score.unwrap_or(self.spec.score);
        self.found.clear();
        decode(&outputs, size, least, &mut self.found)?;
        let mut kept = suppress(&mut self.found, self.spec.nms_iou);
        for detection in &mut kept {
            let FaceBox {
                x,
                y,
                width,
                height,
            } = &mut detection.face;
            let points = detection
                .landmarks
                .iter_mut()
                .flat_map(|p| [&mut p.x, &mut p.y]);
            [x, y, width, height]
                .into_iter()
                .chain(points)
                .for_each(|v| *v /= scale);
        }
        Ok(kept)
    }

    /// Puts the network for `size` last.
    fn plan(&mut self, size: (usize, usize)) -> Result<(), ModelError> {
        match self.networks.iter().position(|n| n.size() == size) {
            Some(at) => self.networks[at..].rotate_left(1),
            None => {
                let model = &self.model;
                let network = Network::new(&model.name, &model.bytes, &model.spec.input, size)?;
                if self.networks.len() == KEPT_SIZES {
                    self.networks.remove(0);
                }
                self.networks.push(network);
            }
        }
        Ok(())
    }
}

/// Reads YuNet's grids: score `sqrt(cls * obj)`, centre `(cell + d) * stride`, size
/// `exp(d) * stride`, landmarks `(cell + d) * stride` (Wu et al. 2023).
#[expect(clippy::cast_precision_loss, reason = "grids are small")]
fn decode(
    outputs: &Outputs<'_>,
    (width, height): (usize, usize),
    least: f32,
    found: &mut Vec<Detection>,
) -> Result<(), ModelError> {
    for (stride, [cls, obj, bbox, kps]) in GRIDS {
        let (columns, rows) = (width / stride, height / stride);
        let grid = |name, depth| outputs.get_sized(name, columns * rows * depth);
        let (cls, obj) = (grid(cls, 1)?, grid(obj, 1)?);
        let (bbox, kps) = (grid(bbox, 4)?, grid(kps, 10)?);
        for cell in 0..columns * rows {
            let score = (cls[cell].clamp(0.0, 1.0) * obj[cell].clamp(0.0, 1.0)).sqrt();
            if score < least || score.is_nan() {
                continue;
            }
            let corner = Point {
                x: (cell % columns) as f32,
                y: (cell / columns) as f32,
            };
            let (b, k) = (&bbox[cell * 4..][..4], &kps[cell * 10..][..10]);
            found.extend(face_of(corner, stride as f32, score, b, k));
        }
    }
    Ok(())
}

/// What the cell at `corner` says with four numbers of the box and ten of the landmarks; none where it
/// names no place: a damaged network can say anything.
fn face_of(corner: Point, stride: f32, score: f32, b: &[f32], k: &[f32]) -> Option<Detection> {
    let place = |d: &[f32]| Point {
        x: (corner.x + d[0]) * stride,
        y: (corner.y + d[1]) * stride,
    };
    let (centre, width, height) = (place(b), b[2].exp() * stride, b[3].exp() * stride);
    let face = FaceBox {
        x: centre.x - width / 2.0,
        y: centre.y - height / 2.0,
        width,
        height,
    };
    let landmarks: Landmarks = std::array::from_fn(|i| place(&k[2 * i..]));
    let points = landmarks.iter().flat_map(|p| [p.x, p.y]);
    let mut numbers = points.chain([face.x, face.y, width, height]);
    numbers.all(f32::is_finite).then_some(Detection {
        face,
        score,
        landmarks,
    })
}

/// Boxes that overlap this much speak of the same face.
const SAME_FACE: f32 = 0.6;

/// Non-maximum suppression: sorts by falling score and leaves out every box that overlaps a surer one
/// by more than `limit`. A face that stays gets the mean landmarks of all boxes that speak of it,
/// weighted by score: several cells see each face, and their errors differ.
fn suppress(found: &mut [Detection], limit: f32) -> Detections {
    found.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept = Detections::new();
    for candidate in &*found {
        if kept
            .iter()
            .all(|k| k.face.overlap(&candidate.face) <= limit)
        {
            kept.push(*candidate);
        }
    }
    for detection in &mut kept {
        detection.landmarks = agreed(detection, found);
    }
    kept
}

/// The mean landmarks of all boxes in `found` that speak of the face of `detection`.
fn agreed(detection: &Detection, found: &[Detection]) -> Landmarks {
    let face = &detection.face;
    let mut sum = Landmarks::default();
    let mut total = 0.0;
    for other in found.iter().filter(|d| d.face.overlap(face) >= SAME_FACE) {
        total += other.score;
        for (mean, point) in sum.iter_mut().zip(&other.landmarks) {
            mean.x += point.x * other.score;
            mean.y += point.y * other.score;
        }
    }
    if total <= 0.0 {
        return detection.landmarks; // a box without an area overlaps nothing, not even itself
    }
    sum.map(|p| Point {
        x: p.x / total,
        y: p.y / total,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(x: f32, score: f32) -> Detection {
        let face = FaceBox {
            x,
            y: 0.0,
            width: 10.0,
            height: 10.0,
        };
        Detection {
            face,
            score,
            landmarks: Landmarks::default(),
        }
    }

    #[test]
    fn overlap_is_intersection_over_union() {
        let a = face(0.0, 1.0).face;
        for (x, expected) in [(0.0, 1.0), (5.0, 1.0 / 3.0), (10.0, 0.0), (50.0, 0.0)] {
            assert!((a.overlap(&face(x, 1.0).face) - expected).abs() < 1e-6);
        }
        assert!(FaceBox::default().overlap(&FaceBox::default()).abs() < f32::EPSILON);
    }

    #[test]
    fn a_cell_speaks_of_its_own_place_in_units_of_its_stride() {
        let corner = Point { x: 3.0, y: 1.0 };
        let k: Vec<f32> = (0..10u8).map(f32::from).collect();
        let found = face_of(corner, 8.0, 0.9, &[0.5, 1.0, 0.0, 2f32.ln()], &k).unwrap();
        let FaceBox {
            x,
            y,
            width,
            height,
        } = found.face;
        assert_eq!([x, y, width], [24.0, 8.0, 8.0]);
        assert!((height - 16.0).abs() < 1e-4);
        assert_eq!(found.landmarks[1], Point { x: 40.0, y: 32.0 });
    }

    #[test]
    fn a_face_without_a_place_is_none() {
        let (b, k) = ([0.0; 4], [0.0; 10]);
        let says = |b: &[f32], k: &[f32]| face_of(Point::default(), 8.0, 0.9, b, k);
        assert!(says(&b, &k).is_some());
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in 0..2 {
                let mut b = b;
                b[at] = wrong;
                assert!(says(&b, &k).is_none(), "box {at} {wrong}");
            }
            let mut k = k;
            k[9] = wrong;
            assert!(says(&b, &k).is_none(), "landmark {wrong}");
        }
        assert!(
            says(&[0.0, 0.0, 100.0, 0.0], &k).is_none(),
            "as wide as nothing can be"
        );
    }

    #[test]
    fn the_surest_of_overlapping_faces_stays() {
        let mut found = vec![
            face(0.0, 0.7),
            face(1.0, 0.9),
            face(30.0, 0.8),
            face(2.0, 0.6),
        ];
        let kept = suppress(&mut found, 0.3);
        let left: Vec<_> = kept.iter().map(|d| (d.face.x, d.score)).collect();
        assert_eq!(left, [(1.0, 0.9), (30.0, 0.8)]);
    }

    #[test]
    fn landmarks_are_the_mean_of_what_all_boxes_of_a_face_say() {
        let seen = |x: f32, score: f32, eye: f32| Detection {
            landmarks: [Point { x: eye, y: 1.0 }; 5],
            ..face(x, score)
        };
        let mut found = vec![
            seen(0.0, 0.75, 4.0),
            seen(1.0, 0.25, 8.0),
            seen(4.0, 0.25, 99.0),
        ];
        let kept = suppress(&mut found, 0.3);
        assert_eq!(kept[0].landmarks, [Point { x: 5.0, y: 1.0 }; 5]);
    }
}
