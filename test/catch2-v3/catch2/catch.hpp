// Catch2 from version 3 on has its headers under other names, and main() in a
// library. Only where that version is found is this directory searched.
#ifndef HANDLEFS_TEST_CATCH2_V3_CATCH2_CATCH_HPP_
#define HANDLEFS_TEST_CATCH2_V3_CATCH2_CATCH_HPP_

#include <catch2/catch_all.hpp>

using Catch::Approx;  // NOLINT: it was there without a namespace

#endif  // HANDLEFS_TEST_CATCH2_V3_CATCH2_CATCH_HPP_
