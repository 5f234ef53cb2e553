//! Division by numbers that are known long before what is divided.

/// The longest number that can be divided: 4096 bits.
pub(super) const MAX_LIMBS: usize = 64;

/// A number of at most 58 bits to divide by.
pub(super) struct Divisor {
    divisor: u64,
    /// The remainders of the powers of 2^64.
    powers: [u64; MAX_LIMBS],
}

impl Divisor {
    pub(super) const fn new(divisor: u64) -> Self {
        assert!(divisor < 1 << 58, "the sum in Divisor::remainder has to fit");
        Self { divisor, powers: powers_from(1 % divisor, divisor) }
    }

    /// The remainder of a number of at most [`MAX_LIMBS`].
    pub(super) fn remainder(&self, number: &[u64]) -> u64 {
        remainder(sum_of_products(number, &self.powers), self.divisor)
    }
}

/// An odd number to divide by where any number with the same remainder is as good.
pub(super) struct OddDivisor {
    divisor: u64,
    /// The inverse of the divisor modulo 2^64, times -1.
    inverse: u64,
    /// The remainders of the powers of 2^64, from the first on.
    powers: [u64; MAX_LIMBS],
}

impl OddDivisor {
    pub(super) const fn new(divisor: u64) -> Self {
        assert!(divisor < u64::MAX / 65, "the sum in OddDivisor::reduce has to fit");
        let powers = powers_from(remainder(1 << 64, divisor), divisor);
        Self { divisor, inverse: inverse(divisor).wrapping_neg(), powers }
    }

    /// A number with the same remainder as this one, which has at most [`MAX_LIMBS`]. Nothing is divided for it
    /// (Montgomery, Modular Multiplication Without Trial Division, 1985).
    pub(super) fn reduce(&self, number: &[u64]) -> u64 {
        let sum = sum_of_products(number, &self.powers);
        #[allow(clippy::cast_possible_truncation, reason = "the two limbs of the sum")]
        let (low, high) = (sum as u64, (sum >> 64) as u64);
        // The lowest limb becomes zero, with a carry where it was not.
        let (_, multiple) = low.wrapping_mul(self.inverse).carrying_mul(self.divisor, 0);
        high + multiple + u64::from(low != 0)
    }
}

/// The remainders of a power of 2^64, of which this is one, and of those after it.
const fn powers_from(first: u64, divisor: u64) -> [u64; MAX_LIMBS] {
    let mut powers = [0; MAX_LIMBS];
    let mut places = powers.as_mut_slice();
    let mut power = first;
    while let Some((place, rest)) = places.split_first_mut() {
        *place = power;
        power = remainder((power as u128) << 64, divisor);
        places = rest;
    }
    powers
}

/// Each limb of a number of at most [`MAX_LIMBS`] times what stands in its place, which has at most 58 bits: 2^6 products
/// of 64 and 58 bits stay below 2^128. It replaces a division a limb, each of which would have to wait for the one before.
fn sum_of_products(number: &[u64], places: &[u64; MAX_LIMBS]) -> u128 {
    debug_assert!(number.len() <= MAX_LIMBS);
    number.iter().zip(places).map(|(&limb, &place)| u128::from(limb) * u128::from(place)).sum()
}

/// An odd number that may divide others.
#[derive(Clone, Copy)]
pub(super) struct Factor {
    value: u64,
    inverse: u64,
    /// What the largest multiple of 64 bits has for the other factor.
    largest: u64,
}

impl Factor {
    pub(super) const fn new(value: u64) -> Self {
        Self { value, inverse: inverse(value), largest: u64::MAX / value }
    }

    pub(super) fn value(self) -> u64 {
        self.value
    }

    /// Whether it divides a number. Times the inverse, only multiples come to what they are multiples by (Granlund and
    /// Montgomery, Division by Invariant Integers using Multiplication, section 9).
    pub(super) fn divides(self, number: u64) -> bool {
        number.wrapping_mul(self.inverse) <= self.largest
    }
}

/// The inverse of an odd number modulo 2^64.
const fn inverse(odd: u64) -> u64 {
    assert!(!odd.is_multiple_of(2), "only odd numbers have an inverse");
    // Right in the lowest three bits to begin with, and in twice as many each time.
    let (mut inverse, mut bits) = (odd, 3);
    while bits < 64 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
        bits *= 2;
    }
    inverse
}

#[allow(clippy::cast_possible_truncation, reason = "the remainder is below the divisor")]
const fn remainder(number: u128, divisor: u64) -> u64 {
    (number % divisor as u128) as u64
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;
    use proptest::prelude::*;

    use super::*;
    use crate::request::rsa::testing::{limb, number};

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn remainders_are_those_of_long_division(
            divisor in prop_oneof![1..1000_u64, 1..1_u64 << 58, Just((1 << 58) - 1)],
            limbs in prop::collection::vec(limb(), 0..=MAX_LIMBS),
        ) {
            let expected = number(&limbs) % divisor;
            prop_assert_eq!(BigUint::from(Divisor::new(divisor).remainder(&limbs)), expected);
        }

        #[test]
        fn what_is_reduced_has_the_same_remainder(
            divisor in prop_oneof![1..1000_u64, 1..u64::MAX / 65 - 1].prop_map(|divisor| divisor | 1),
            limbs in prop::collection::vec(limb(), 0..=MAX_LIMBS),
        ) {
            let expected = number(&limbs) % divisor;
            prop_assert_eq!(BigUint::from(OddDivisor::new(divisor).reduce(&limbs) % divisor), expected);
        }
    }

    proptest! {
        #[test]
        fn factors_are_those_that_leave_no_remainder(
            factor in prop_oneof![1..1000_u64, 1..=u64::MAX].prop_map(|factor| factor | 1),
            quotient in limb(),
            number in limb(),
        ) {
            // Beside a multiple is where it could be wrong.
            let multiple = factor.wrapping_mul(quotient);
            for number in [number, multiple, multiple.wrapping_sub(1), multiple.wrapping_add(1)] {
                prop_assert_eq!(Factor::new(factor).divides(number), number.is_multiple_of(factor));
            }
        }
    }

    #[test]
    fn the_largest_sum_fits() {
        let limbs = [u64::MAX; MAX_LIMBS];
        let divisor = (1 << 58) - 1;
        assert_eq!(BigUint::from(Divisor::new(divisor).remainder(&limbs)), number(&limbs) % divisor);
        let divisor = u64::MAX / 65 - 1;
        assert_eq!(BigUint::from(OddDivisor::new(divisor).reduce(&limbs) % divisor), number(&limbs) % divisor);
    }
}
