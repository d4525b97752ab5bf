//! Finds the JPEG images in a stream of bytes by walking their markers (ITU-T T.81, annex B).
//!
//! Looking for the end marker alone would stop at the end of a thumbnail, which is a whole JPEG
//! image inside a segment. Nothing is decoded here.

use std::io::{self, BufRead, Read};

/// The largest image that is read, in bytes.
pub(crate) const MAX_IMAGE_BYTES: u64 = 64 << 20;

/// A whole JPEG image, from its start marker to its end marker.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct JpegImage {
    pub(crate) bytes: Vec<u8>,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// What [`JpegReader::next_image`] came upon.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scan {
    /// A whole image.
    Image(JpegImage),
    /// An image that began at this byte and is not one; reading goes on after it.
    Damaged(u64),
    /// The stream ended within the image that began at this byte.
    Truncated(u64),
    /// The stream ended between images.
    End,
}

/// Why the walk through one image ended early.
enum Stop {
    Damaged,
    /// The next image's start marker came up within this one.
    StartedAnew,
    Truncated,
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Io(error),
        }
    }
}

/// Reads concatenated JPEG images. Bytes between them (padding, multipart headers) are passed
/// over.
pub(crate) struct JpegReader<R> {
    inner: R,
    offset: u64,
    /// A start marker has been read already.
    started: bool,
}

impl<R: BufRead> JpegReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            offset: 0,
            started: false,
        }
    }

    pub(crate) fn next_image(&mut self) -> io::Result<Scan> {
        if !self.started && !self.find_start()? {
            return Ok(Scan::End);
        }
        self.started = false;
        let begin = self.offset - 2;
        match self.walk() {
            Ok(image) => Ok(Scan::Image(image)),
            Err(Stop::Damaged) => Ok(Scan::Damaged(begin)),
            Err(Stop::StartedAnew) => {
                self.started = true;
                Ok(Scan::Damaged(begin))
            }
            Err(Stop::Truncated) => Ok(Scan::Truncated(begin)),
            Err(Stop::Io(error)) => Err(error),
        }
    }

    /// Reads up to and with the next start-of-image marker; false at the end of the stream.
    fn find_start(&mut self) -> io::Result<bool> {
        let mut last = 0;
        loop {
            let Some(&byte) = self.inner.fill_buf()?.first() else {
                return Ok(false);
            };
            self.inner.consume(1);
            self.offset += 1;
            if (last, byte) == (0xff, 0xd8) {
                return Ok(true);
            }
            last = byte;
        }
    }

    /// Reads from behind the start marker to the end marker.
    fn walk(&mut self) -> Result<JpegImage, Stop> {
        let mut bytes = vec![0xff, 0xd8];
        let (mut size, mut scanned) = (None, false);
        let mut marker = self.marker(&mut bytes)?;
        loop {
            match marker {
                0xd9 => break,
                0xd8 => return Err(Stop::StartedAnew),
                0x01 | 0xd0..=0xd7 => {}
                0x02..=0xbf => return Err(Stop::Damaged),
                _ => {
                    let body = self.segment(&mut bytes)?;
                    // A frame header: sample precision, height, width. 0xc4, 0xc8 and 0xcc stand
                    // among them but mean something else.
                    if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
                        let [_, h1, h0, w1, w0, ..] = bytes[body..] else {
                            return Err(Stop::Damaged);
                        };
                        size = Some((u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0])));
                    }
                }
            }
            marker = if marker == 0xda {
                scanned = true;
                self.entropy_coded(&mut bytes)?
            } else {
                self.marker(&mut bytes)?
            };
        }
        match size {
            Some((width @ 1.., height @ 1..)) if scanned => Ok(JpegImage {
                bytes,
                width: width.into(),
                height: height.into(),
            }),
            _ => Err(Stop::Damaged),
        }
    }

    /// Reads a marker, fill bytes before it included, and returns its code.
    fn marker(&mut self, bytes: &mut Vec<u8>) -> Result<u8, Stop> {
        if self.byte(bytes)? != 0xff {
            return Err(Stop::Damaged);
        }
        loop {
            match self.byte(bytes)? {
                0xff => {}
                0x00 => return Err(Stop::Damaged),
                code => return Ok(code),
            }
        }
    }

    /// Reads a segment by its length and returns where in `bytes` its content begins.
    fn segment(&mut self, bytes: &mut Vec<u8>) -> Result<usize, Stop> {
        let length = u16::from_be_bytes([self.byte(bytes)?, self.byte(bytes)?]);
        let content = length.checked_sub(2).ok_or(Stop::Damaged)?;
        let begin = bytes.len();
        let read = (&mut self.inner).take(content.into()).read_to_end(bytes)?;
        self.offset += read as u64;
        if read < content.into() {
            Err(Stop::Truncated)
        } else {
            Ok(begin)
        }
    }

    /// Reads entropy-coded data to the marker that ends it and returns its code. Stuffed zeros
    /// and restart markers belong to the data.
    fn entropy_coded(&mut self, bytes: &mut Vec<u8>) -> Result<u8, Stop> {
        loop {
            let room = MAX_IMAGE_BYTES
                .checked_sub(bytes.len() as u64)
                .ok_or(Stop::Damaged)?;
            let read = (&mut self.inner).take(room).read_until(0xff, bytes)?;
            self.offset += read as u64;
            if bytes.last() != Some(&0xff) {
                return Err(if read as u64 == room {
                    Stop::Damaged
                } else {
                    Stop::Truncated
                });
            }
            loop {
                match self.byte(bytes)? {
                    0xff => {}
                    0x00 | 0xd0..=0xd7 => break,
                    code => return Ok(code),
                }
            }
        }
    }

    fn byte(&mut self, bytes: &mut Vec<u8>) -> Result<u8, Stop> {
        if bytes.len() as u64 >= MAX_IMAGE_BYTES {
            return Err(Stop::Damaged);
        }
        let Some(&byte) = self.inner.fill_buf()?.first() else {
            return Err(Stop::Truncated);
        };
        self.inner.consume(1);
        self.offset += 1;
        bytes.push(byte);
        Ok(byte)
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    /// A segment with its length.
    fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len() + 2).unwrap().to_be_bytes();
        [&[0xff, marker], &length[..], content].concat()
    }

    /// The markers of a JPEG image of 4x3 pixels around the given entropy-coded data.
    fn image(app: &[u8], data: &[u8]) -> Vec<u8> {
        [
            vec![0xff, 0xd8],
            segment(0xe1, app),
            segment(0xc4, &[0; 20]),
            segment(0xc0, &[8, 0, 3, 0, 4, 1, 1, 0x11, 0]),
            segment(0xda, &[1, 1, 0, 0, 63, 0]),
            data.to_vec(),
            vec![0xff, 0xd9],
        ]
        .concat()
    }

    /// The walk in words: the lengths of images, and where damage began.
    fn scan(stream: &[u8]) -> String {
        // A buffer of 3 bytes splits every marker and length somewhere.
        let mut reader = JpegReader::new(BufReader::with_capacity(3, stream));
        let mut found = Vec::new();
        loop {
            match reader.next_image().unwrap() {
                Scan::Image(image) => {
                    assert_eq!((image.width, image.height), (4, 3));
                    found.push(image.bytes.len().to_string());
                }
                Scan::Damaged(at) => found.push(format!("damaged@{at}")),
                Scan::Truncated(at) => found.push(format!("truncated@{at}")),
                Scan::End => return found.join(" "),
            }
        }
    }

    #[test]
    fn images_are_told_apart_by_their_markers() {
        let plain = image(b"Exif", &[1, 2, 3]);
        let (n, len) = (plain.len(), plain.len().to_string());
        let thumbnail = image(&image(b"thumb", &[9]), &[1, 2, 3]);
        let stuffed = image(b"", &[1, 0xff, 0x00, 0xd9, 0xff, 0xd3, 7, 0xff, 0xff, 0x00]);
        // Progressive: a second scan, with a table of its own between the two.
        let progressive = [
            &plain[..n - 2],
            &segment(0xc4, &[0; 3]),
            &segment(0xda, &[1, 1, 0, 0, 63, 0]),
            &[5, 0xff, 0xd9],
        ]
        .concat();
        let table = [
            ("empty", vec![], String::new()),
            ("text", b"this is not a clip".to_vec(), String::new()),
            ("one", plain.clone(), len.clone()),
            ("two", [&plain[..], &plain].concat(), format!("{n} {n}")),
            (
                "padded",
                [b"--x\r\n\xff", &plain[..], &[0, 0xff], &plain].concat(),
                format!("{n} {n}"),
            ),
            ("thumbnail", thumbnail.clone(), thumbnail.len().to_string()),
            (
                "stuffing, restarts, fill",
                stuffed.clone(),
                stuffed.len().to_string(),
            ),
            (
                "two scans",
                progressive.clone(),
                progressive.len().to_string(),
            ),
            (
                "cut in the data",
                [&plain[..], &plain[..n - 3]].concat(),
                format!("{n} truncated@{n}"),
            ),
            (
                "cut in a marker",
                plain[..n - 1].to_vec(),
                "truncated@0".to_owned(),
            ),
            (
                "cut in a segment",
                plain[..9].to_vec(),
                "truncated@0".to_owned(),
            ),
            (
                "begun anew",
                [&plain[..n - 3], &plain].concat(),
                format!("damaged@0 {n}"),
            ),
            (
                "no marker",
                [&[0xff, 0xd8, 7], &plain[..]].concat(),
                format!("damaged@0 {n}"),
            ),
            (
                "short length",
                [&[0xff, 0xd8, 0xff, 0xe0, 0, 1], &plain[..]].concat(),
                format!("damaged@0 {n}"),
            ),
            (
                "without a frame",
                [&[0xff, 0xd8, 0xff, 0xd9], &plain[..]].concat(),
                format!("damaged@0 {n}"),
            ),
        ];
        for (case, stream, expected) in table {
            assert_eq!(scan(&stream), expected, "{case}");
        }
    }

    #[test]
    fn the_bytes_are_passed_on_unchanged() {
        let (first, second) = (image(b"a", &[1, 0xff, 0, 2]), image(b"bb", &[3]));
        let stream = [&first[..], &[0; 5], &second].concat();
        let mut reader = JpegReader::new(&stream[..]);
        for expected in [first, second] {
            let Scan::Image(image) = reader.next_image().unwrap() else {
                panic!()
            };
            assert_eq!(image.bytes, expected);
        }
        assert_eq!(reader.next_image().unwrap(), Scan::End);
    }

    proptest! {
        #[test]
        fn garbage_ends(stream in proptest::collection::vec(
            prop_oneof![Just(0xff_u8), Just(0xd8), Just(0xda), Just(0), any::<u8>()], 0..600)
        ) {
            let mut reader = JpegReader::new(&stream[..]);
            // Every image takes two bytes at least, so the walk has to end within these steps.
            let steps = (0..=stream.len()).find(|_| reader.next_image().unwrap() == Scan::End);
            prop_assert!(steps.is_some());
        }
    }
}
