//! Fermat's method of finding the factors of a number.

use super::divisor::Divisor;
use super::root::{Root, is_square, multiply, subtract};

/// How many rounds of Fermat's method a key has to withstand (Baseline Requirements, section 6.1.1.3).
const ROUNDS: u64 = 100;

/// The product of the moduli in [`may_be_square`].
const SQUARES_MODULUS: u64 = 64 * 63 * 55 * 13 * 17 * 19 * 23 * 29 * 31;

static SQUARES_DIVISOR: Divisor = Divisor::new(SQUARES_MODULUS);

/// Whether Fermat's method finds the factors at once, because they are close to each other (CVE-2022-26320).
///
/// N = p·q is a² - b², where a is the mean of p and q, and a little above √N if they are close. One root serves all
/// rounds: where N is s² + r, (s + k)² - N is k·2s + k² - r. The modulus has to be one that [`Root::of`] takes.
pub(super) fn has_close_primes(modulus: &[u64]) -> bool {
    let root = Root::of(modulus);
    let twice = SQUARES_DIVISOR.remainder(root.twice());
    let rest = SQUARES_DIVISOR.remainder(root.rest());
    let mut remainder = SQUARES_MODULUS - rest;
    root.is_exact()
        || (1..=ROUNDS).any(|above| {
            remainder += twice + 2 * above - 1;
            may_be_square(remainder) && {
                let mut difference = multiply(root.twice(), above, above * above);
                subtract(&mut difference, root.rest(), 1);
                is_square(difference)
            }
        })
}

/// Whether a number with this remainder by [`SQUARES_MODULUS`] may be a square: by nearly every number that is none, it can
/// be seen modulo numbers without a common factor (Cohen, A Course in Computational Algebraic Number Theory, algorithm
/// 1.7.3).
fn may_be_square(remainder: u64) -> bool {
    is_square_modulo::<64>(remainder)
        && is_square_modulo::<63>(remainder)
        && is_square_modulo::<55>(remainder)
        && is_square_modulo::<13>(remainder)
        && is_square_modulo::<17>(remainder)
        && is_square_modulo::<19>(remainder)
        && is_square_modulo::<23>(remainder)
        && is_square_modulo::<29>(remainder)
        && is_square_modulo::<31>(remainder)
}

/// The modulus is at most 64, and known to the compiler, so that it need not divide.
fn is_square_modulo<const MODULUS: u64>(number: u64) -> bool {
    let squares = const { squares(MODULUS) };
    (squares >> (number % MODULUS)) & 1 == 1
}

/// The squares modulo a number of at most 64, as the bits of a number.
const fn squares(modulus: u64) -> u64 {
    let mut squares = 0;
    let mut root = 0;
    while root < modulus {
        squares |= 1 << (root * root % modulus);
        root += 1;
    }
    squares
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;
    use proptest::prelude::*;

    use super::*;
    use crate::request::rsa::testing::{limb, limbs_of, number};

    /// Fermat's method as it is written in books.
    fn by_the_book(modulus: &BigUint) -> bool {
        let root = modulus.sqrt();
        let first = if root.pow(2) == *modulus { root } else { root + 1_u64 };
        (0..ROUNDS).any(|round| {
            let difference = (&first + round).pow(2) - modulus;
            difference.sqrt().pow(2) == difference
        })
    }

    fn check(modulus: &BigUint) -> bool {
        let close = has_close_primes(&limbs_of(modulus));
        assert_eq!(close, by_the_book(modulus), "{modulus:x}");
        close
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_is_the_method_of_the_book(
            limbs in prop::collection::vec(limb(), 16),
            difference in prop::collection::vec(any::<u64>(), 8),
            more in 0..40_u64,
        ) {
            // Half the difference of the primes is about 2^512 times the root of twice the rounds that it takes.
            let mean: BigUint = number(&limbs) | BigUint::from(3_u8) << 1022;
            let half: BigUint = number(&difference) | BigUint::from(1_u8) << 511;
            check(&(mean.pow(2) - (half * more).pow(2)));
        }

        #[test]
        fn it_finds_what_is_close_and_no_more(
            limbs in prop::collection::vec(limb(), 16),
            round in 0..2 * ROUNDS,
        ) {
            // The closest half difference of the primes for which the mean is this far above the root.
            let mean: BigUint = number(&limbs) | BigUint::from(3_u8) << 1022;
            let half = (&mean * 2_u64 * round).sqrt();
            prop_assert_eq!(check(&(mean.pow(2) - half.pow(2))), round <= ROUNDS);
        }
    }

    #[test]
    fn no_square_is_filtered_out() {
        for root in (0..20_000).chain(SQUARES_MODULUS - 100..SQUARES_MODULUS + 100) {
            let square = u128::from(root) * u128::from(root);
            assert!(may_be_square(u64::try_from(square % u128::from(SQUARES_MODULUS)).unwrap()), "{root}");
        }
        assert!((0..20_000).filter(|&number| may_be_square(number)).count() < 200);
    }
}
