//! Damage to requests, at random.

use super::der::{Length, Tlv};
pub use super::random::Random;

impl Random {
    /// A byte for DER.
    pub fn byte(&mut self) -> u8 {
        // Tags, lengths and the edges of ranges come more often than chance would have them.
        const LIKELY: [u8; 24] = [
            0, 1, 2, 3, 4, 5, 6, 0x0c, 0x13, 0x16, 0x1e, 0x1f, 0x30, 0x31, 0x7f, 0x80, 0x81, 0x82, 0x86, 0x87, 0xa0,
            0xa4, 0xfe, 0xff,
        ];
        if self.below(2) == 0 { LIKELY[self.below(LIKELY.len())] } else { self.next().to_be_bytes()[0] }
    }
}

/// Changes one to three places of a byte string.
pub fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let place = random.below(bytes.len());
        match random.below(6) {
            0 if !bytes.is_empty() => bytes[place] ^= 1 << random.below(8),
            1 if !bytes.is_empty() => bytes[place] = random.byte(),
            2 => bytes.insert(place, random.byte()),
            3 if !bytes.is_empty() => drop(bytes.remove(place)),
            4 => bytes.truncate(place),
            _ => {
                let end = (place + random.below(20)).min(bytes.len());
                let piece = bytes[place..end].to_vec();
                let target = random.below(bytes.len());
                bytes.splice(target..target, piece);
            }
        }
    }
}

/// Changes one to two pieces of a request, and keeps the lengths around them right.
pub fn rebuild(info: &mut Tlv, random: &mut Random) {
    for _ in 0..=random.below(2) {
        let paths = info.paths();
        let donor = info.at(&paths[random.below(paths.len())].clone()).clone();
        let piece = info.at(&paths[random.below(paths.len())].clone());
        let child = random.below(piece.children.len());
        match random.below(10) {
            0 => piece.tag[0] = random.byte(),
            1 => piece.tag[0] ^= 1 << random.below(8),
            2 => piece.length = [Length::Long(0), Length::Long(1), Length::Indefinite][random.below(3)],
            3 => piece.suffix = vec![random.byte(); random.below(3)],
            4 => damage(&mut piece.prefix, random),
            5 if !piece.children.is_empty() => drop(piece.children.remove(child)),
            6 if !piece.children.is_empty() => piece.children.insert(child, piece.children[child].clone()),
            7 if piece.children.len() > 1 => piece.children.swap(0, child),
            8 => piece.children.insert(child, donor),
            _ => *piece = donor,
        }
    }
}
