//! Square roots of long numbers.

use std::iter::repeat;
use std::ops::Range;

/// A square root rounded down.
///
/// While it is taken, its digits come one after another in front of the lowest: each buffer is filled from its high end.
pub(super) struct Root {
    twice: Vec<u64>,
    /// Where the lowest limb is that there is so far.
    twice_from: usize,
    rest: Vec<u64>,
    /// The limbs that are to be looked at: further ones of the number are below, zeros above.
    rest_limbs: Range<usize>,
}

impl Root {
    /// Takes the root the way it is done by hand, with a limb for a digit.
    ///
    /// The number has to have an even number of limbs, and one of its two highest bits has to be set.
    pub(super) fn of(number: &[u64]) -> Self {
        debug_assert!(number.len().is_multiple_of(2) && number.last().is_some_and(|highest| highest >> 62 != 0));
        let digits = number.len() / 2;
        let mut root = Self {
            twice: vec![0; digits + 1],
            twice_from: digits.saturating_sub(1),
            rest: number.to_vec(),
            rest_limbs: number.len().saturating_sub(2)..number.len(),
        };
        if let ([.., low, high], [.., twice_low, twice_high]) = (root.rest.as_mut_slice(), root.twice.as_mut_slice()) {
            let highest = u128::from(*high) << 64 | u128::from(*low);
            let digit = highest.isqrt();
            [*twice_low, *twice_high] = limbs(2 * digit);
            [*low, *high] = limbs(highest - digit * digit);
        }
        for _ in 1..digits {
            root.append_digit();
        }
        root
    }

    /// Twice the root.
    pub(super) fn twice(&self) -> &[u64] {
        self.twice.get(self.twice_from..).unwrap_or_default()
    }

    /// The number less the square of the root.
    pub(super) fn rest(&self) -> &[u64] {
        self.rest.get(self.rest_limbs.clone()).unwrap_or_default()
    }

    /// Whether the number is a square.
    pub(super) fn is_exact(&self) -> bool {
        self.rest().iter().all(|&limb| limb == 0)
    }

    /// With the root s so far and B = 2^64, finds the largest digit d by which (2·s·B + d)·d is not above the rest, and
    /// takes that off.
    fn append_digit(&mut self) {
        self.rest_limbs.start -= 2;
        let mut digit = self.estimate();
        self.twice_from -= 1;
        let twice = self.twice.get_mut(self.twice_from..).unwrap_or_default();
        let rest = self.rest.get_mut(self.rest_limbs.clone()).unwrap_or_default();
        if let [lowest, ..] = twice {
            *lowest = digit;
        }
        let mut below_zero = subtract(rest, twice, digit);
        double_lowest(twice, digit);
        while below_zero {
            // The estimate was too high. With d less by one, the product is less by 2·s·B + 2·d + 1.
            digit = digit.wrapping_sub(1);
            double_lowest(twice, digit);
            below_zero = !add(rest, twice, true);
        }
        // The rest is at most twice the root now, and as long.
        self.rest_limbs.end -= 1;
    }

    /// The highest limbs of the rest by the highest of twice the root: the next digit, or up to three more.
    fn estimate(&self) -> u64 {
        let ([.., low, middle, high], [.., lower, upper]) = (self.rest(), self.twice()) else {
            return 0;
        };
        // Halved, so as to fit: twice the root begins with a limb of one bit.
        let rest = u128::from(*high) << 127 | u128::from(*middle) << 63 | u128::from(low >> 1);
        let root = u128::from(*upper) << 63 | u128::from(lower >> 1);
        u64::try_from(rest / root).unwrap_or(u64::MAX)
    }
}

/// Makes the lowest limb, and the lowest bit of the next, twice the digit.
fn double_lowest(twice: &mut [u64], digit: u64) {
    if let [lowest, next, ..] = twice {
        *lowest = digit << 1;
        *next = *next & !1 | digit >> 63;
    }
}

/// Whether a number of any length is a square.
pub(super) fn is_square(mut number: Vec<u64>) -> bool {
    while number.pop_if(|highest| *highest == 0).is_some() {}
    let Some(highest) = number.last() else { return true };
    // A power of 4 makes no difference.
    let power = 1 << (highest.leading_zeros() & !1);
    let mut carry = 0;
    for limb in &mut number {
        (*limb, carry) = limb.carrying_mul(power, carry);
    }
    if !number.len().is_multiple_of(2) {
        number.insert(0, 0);
    }
    Root::of(&number).is_exact()
}

/// `number` times `factor` plus `plus`.
pub(super) fn multiply(number: &[u64], factor: u64, plus: u64) -> Vec<u64> {
    let mut carry = plus;
    let mut product: Vec<u64> = number
        .iter()
        .map(|limb| {
            let (low, high) = limb.carrying_mul(factor, carry);
            carry = high;
            low
        })
        .collect();
    product.push(carry);
    product
}

/// Takes `other` times `factor` off a number that is no shorter; says whether that went below zero.
pub(super) fn subtract(number: &mut [u64], other: &[u64], factor: u64) -> bool {
    let (limbs, above) = number.split_at_mut(other.len().min(number.len()));
    let mut borrow = 0;
    for (limb, other) in limbs.iter_mut().zip(other) {
        let (low, high) = other.carrying_mul(factor, borrow);
        let (difference, below) = limb.overflowing_sub(low);
        *limb = difference;
        borrow = high + u64::from(below);
    }
    for limb in above {
        let (difference, below) = limb.overflowing_sub(borrow);
        *limb = difference;
        borrow = u64::from(below);
    }
    borrow != 0
}

/// Adds `other` and the carry to a number that is no shorter; says whether that went beyond its highest limb.
fn add(number: &mut [u64], other: &[u64], mut carry: bool) -> bool {
    for (limb, other) in number.iter_mut().zip(other.iter().copied().chain(repeat(0))) {
        (*limb, carry) = limb.carrying_add(other, carry);
    }
    carry
}

#[allow(clippy::cast_possible_truncation, reason = "both halves are kept")]
fn limbs(number: u128) -> [u64; 2] {
    [number as u64, (number >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;
    use proptest::prelude::*;

    use super::*;
    use crate::request::rsa::testing::{limb, limbs_of, number};

    /// Numbers that [`Root::of`] takes.
    fn whole() -> impl Strategy<Value = Vec<u64>> {
        let highest = prop_oneof![any::<u64>(), Just(0), Just(u64::MAX)]
            .prop_flat_map(|bits| (1..4_u64).prop_map(move |two| bits >> 2 | two << 62));
        (prop::collection::vec((limb(), limb()), 0..32), limb(), highest).prop_map(|(pairs, low, high)| {
            let mut limbs: Vec<u64> = pairs.into_iter().flat_map(|(low, high)| [low, high]).collect();
            limbs.extend([low, high]);
            limbs
        })
    }

    fn check(limbs: &[u64]) {
        let whole = number(limbs);
        let root = Root::of(limbs);
        assert_eq!(number(root.twice()), whole.sqrt() * 2_u64);
        assert_eq!(number(root.rest()), &whole - whole.sqrt().pow(2));
        assert_eq!(root.is_exact(), whole.sqrt().pow(2) == whole);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn roots_are_those_of_another_library(limbs in whole()) {
            check(&limbs);
        }

        #[test]
        fn roots_beside_squares_are_right(limbs in whole(), step in 0..4_u64) {
            let root = number(&limbs).sqrt();
            let square = root.pow(2);
            // The largest rest that there can be, and squares just below and above.
            for near in [&square + &root * 2_u64 - step, &square + step, &square - step] {
                if near.bits().div_ceil(2) == square.bits().div_ceil(2) {
                    check(&limbs_of(&near));
                }
            }
        }

        #[test]
        fn tells_squares_of_any_length(limbs in prop::collection::vec(limb(), 0..20), step in 1..5_u64, zeros in 0..3_usize) {
            let square = number(&limbs).pow(2);
            let with_zeros = |number: &BigUint| [limbs_of(number), vec![0; zeros]].concat();
            prop_assert!(is_square(with_zeros(&square)));
            for other in [&square + step, &square * step + 1_u64, square.clone() << step] {
                prop_assert_eq!(is_square(with_zeros(&other)), other.sqrt().pow(2) == other);
            }
        }

        #[test]
        fn multiplies_and_subtracts(limbs in prop::collection::vec(limb(), 0..20), factor in limb(), plus in limb()) {
            let product = multiply(&limbs, factor, plus);
            prop_assert_eq!(number(&product), number(&limbs) * factor + plus);
            let mut rest = product.clone();
            prop_assert!(!subtract(&mut rest, &limbs, factor));
            prop_assert_eq!(number(&rest), BigUint::from(plus));
        }
    }

    #[test]
    fn the_smallest_and_the_largest_numbers_have_roots() {
        for pairs in 1..=32 {
            let mut smallest = vec![0; 2 * pairs];
            *smallest.last_mut().unwrap() = 1 << 62;
            check(&smallest);
            check(&vec![u64::MAX; 2 * pairs]);
        }
        assert!(is_square(vec![]) && is_square(vec![0, 0]) && is_square(vec![1]) && !is_square(vec![2]));
    }
}
