// NIfTI-1 and NIfTI-2 volumes in one file (.nii, .nii.gz): https://nifti.nimh.nih.gov.
//
//   NIfTI-1   header of 348 bytes, magic "n+1" at 344; 16-bit extents
//   NIfTI-2   header of 540 bytes, magic "n+2" 0d 0a 1a 0a at 4; 64-bit extents
//   data      from vox_offset on, first axis fastest; value = scl_slope * stored + scl_inter where scl_slope is not 0
//
// Which byte order a header has is seen from its length field. All real types are read: int8 to int64, uint8 to uint64, float32
// and float64. Complex, RGB and 128-bit types are errors; so are pairs of .hdr and .img (magic "ni1"). An own reader: the header is
// a fixed record, and errors that name offset and expectation are what libnifti does not give. Raw files have no check sum: length
// and structure are checked, but a flipped bit in a voxel, the scale, spacing or sform is another value. .gz has CRC-32.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <gradus/io/gzip.hpp>
#include <gradus/tensor/tensor.hpp>

namespace gradus::io {

/// x : [extent of the last axis, ..., extent of the first], row-major: a volume of nx x ny x nz is [nz, ny, nx].
template <class T>
struct Nifti {
  Tensor<T> x;
  std::vector<double> spacing;                    ///< of the axes of x, in their order (pixdim); mm and s as a rule
  std::array<std::array<double, 4>, 3> affine{};  ///< rows of sform: voxel (i, j, k) of the file's axes to millimetres
  int sform_code = 0;                             ///< 0: no sform, `affine` is zero
  int version = 1;
  int datatype = 0;  ///< code of the stored type
  double slope = 1, inter = 0;
};

/// The volume as values of T (float or double), scaled.
template <class T = float>
Nifti<T> read_nifti(const std::filesystem::path& path, Where at = Where::current()) {
  static_assert(std::is_floating_point_v<T>);
  ByteReader in(path, "read_nifti", at);
  std::vector<uint8_t> h(540);
  const auto more = [&](std::size_t begin, std::size_t end) {
    if (const std::size_t n = in.read(h.data() + begin, end - begin); n < end - begin)
      in.damaged("the file ends inside the header", std::to_string(end) + " bytes", begin + n);
  };
  more(0, 4);
  bool big = false;
  const auto bits = [&](const uint8_t* p, std::size_t n) {
    uint64_t v = 0;
    for (std::size_t k = 0; k < n; ++k) v |= uint64_t{p[k]} << (8 * (big ? n - 1 - k : k));
    return v;
  };
  const auto i16 = [&](std::size_t o) { return static_cast<int64_t>(static_cast<int16_t>(bits(&h[o], 2))); };
  const auto i32 = [&](std::size_t o) { return static_cast<int64_t>(static_cast<int32_t>(bits(&h[o], 4))); };
  const auto i64 = [&](std::size_t o) { return static_cast<int64_t>(bits(&h[o], 8)); };
  const auto f32 = [&](std::size_t o) {
    return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits(&h[o], 4))));
  };
  const auto f64 = [&](std::size_t o) { return std::bit_cast<double>(bits(&h[o], 8)); };

  int64_t length = i32(0);
  if (length != 348 && length != 540) big = true, length = i32(0);
  if (length != 348 && length != 540) in.damaged("not a NIfTI file", "a header length of 348 or 540 in either byte order", 0);
  const bool two = length == 540;
  more(4, static_cast<std::size_t>(length));
  const std::size_t magic = two ? 4 : 344;
  if (std::memcmp(&h[magic], two ? "n+2\0\r\n\x1a\n" : "n+1\0", two ? 8 : 4) != 0)
    in.damaged("the magic is wrong",
               two ? "6e 2b 32 00 0d 0a 1a 0a" : "6e 2b 31 00 (one file; pairs of .hdr and .img are not read)", magic);

  Nifti<T> r;
  r.version = two ? 2 : 1;
  const std::size_t dim = two ? 16 : 40, width = two ? 8 : 2;
  const auto extent = [&](std::size_t d) { return two ? i64(dim + width * d) : i16(dim + width * d); };
  const int64_t rank = extent(0);
  if (rank < 1 || rank > 7) in.damaged(std::to_string(rank) + " dimensions", "1 to 7", dim);
  struct Type {
    int code, bytes;
    char kind;
  };
  constexpr Type types[] = {{2, 1, 'u'},   {4, 2, 'i'},   {8, 4, 'i'},   {16, 4, 'f'},   {64, 8, 'f'},
                            {256, 1, 'i'}, {512, 2, 'u'}, {768, 4, 'u'}, {1024, 8, 'i'}, {1280, 8, 'u'}};
  const std::size_t type_at = two ? 12 : 70, bitpix_at = two ? 14 : 72;
  r.datatype = static_cast<int>(i16(type_at));
  const auto* type = std::find_if(std::begin(types), std::end(types), [&](const Type& t) { return t.code == r.datatype; });
  if (type == std::end(types))
    in.damaged("datatype " + std::to_string(r.datatype),
               "2, 4, 8, 16, 64, 256, 512, 768, 1024 or 1280: real numbers to 64 bits", type_at);
  if (i16(bitpix_at) != 8 * type->bytes)
    in.damaged("bitpix is " + std::to_string(i16(bitpix_at)),
               std::to_string(8 * type->bytes) + " for datatype " + std::to_string(r.datatype), bitpix_at);

  uint64_t total = static_cast<uint64_t>(type->bytes);
  for (int64_t d = rank; d >= 1; --d) {
    const std::size_t k = static_cast<std::size_t>(d);
    const int64_t n = extent(k);
    if (n < 1 || total > (uint64_t{1} << 56) / static_cast<uint64_t>(n))
      in.damaged("extent " + std::to_string(d) + " is " + std::to_string(n), "at least 1, and at most 2^56 bytes in all",
                 dim + width * k);
    total *= static_cast<uint64_t>(n);
    const double step = two ? f64(104 + 8 * k) : f32(76 + 4 * k);
    if (!std::isfinite(step))
      in.damaged("the spacing of axis " + std::to_string(d) + " is not finite", "a number", two ? 104 + 8 * k : 76 + 4 * k);
    r.spacing.push_back(step);
  }
  Shape shape;
  for (int64_t d = rank; d >= 1; --d) shape.push_back(extent(static_cast<std::size_t>(d)));

  const std::size_t slope_at = two ? 176 : 112, inter_at = two ? 184 : 116;
  const double slope = two ? f64(slope_at) : f32(slope_at), inter = two ? f64(inter_at) : f32(inter_at);
  if (!std::isfinite(slope)) in.damaged("scl_slope is not finite", "a number; 0: no scaling", slope_at);
  if (slope != 0 && !std::isfinite(inter)) in.damaged("scl_inter is not finite", "a number", inter_at);
  if (slope != 0) r.slope = slope, r.inter = inter;
  r.sform_code = static_cast<int>(two ? i32(348) : i16(254));
  if (r.sform_code != 0)
    for (std::size_t a = 0; a < 3; ++a)
      for (std::size_t b = 0; b < 4; ++b) r.affine[a][b] = two ? f64(400 + 32 * a + 8 * b) : f32(280 + 16 * a + 4 * b);

  const std::size_t offset_at = two ? 168 : 108;
  const double offset = two ? static_cast<double>(i64(offset_at)) : f32(offset_at);
  const double least = two ? 544 : 352;
  if (!(offset >= least && offset <= 1 << 30 && offset == std::floor(offset)))
    in.damaged("vox_offset is " + std::to_string(offset),
               "a whole number from " + std::to_string(static_cast<int>(least)) + " to 2^30", offset_at);
  std::vector<uint8_t> block(1 << 16);
  const auto start = static_cast<uint64_t>(offset);
  while (in.offset() < start) {  // extensions
    if (in.read(block.data(), static_cast<std::size_t>(std::min<uint64_t>(block.size(), start - in.offset()))) == 0)
      in.damaged("the file ends before its data", "data from " + std::to_string(start) + " on", in.offset());
  }
  const std::string expected =
      std::to_string(total) + " bytes of data: " + shape.str() + ", " + std::to_string(type->bytes) + " each";
  if (total > in.at_most_left()) in.damaged("the data is cut off", expected, in.offset());

  // A compressed file may promise 1032 times what it holds: stored bytes grow with what arrives, the tensor is made at the end.
  std::vector<uint8_t> stored;
  while (stored.size() < total) {
    const std::size_t n =
        in.read(block.data(), static_cast<std::size_t>(std::min<uint64_t>(block.size(), total - stored.size())));
    if (n == 0) in.damaged("the data is cut off", expected, in.offset());
    stored.insert(stored.end(), block.begin(), block.begin() + static_cast<std::ptrdiff_t>(n));
  }
  const uint64_t end = in.offset();
  if (uint8_t extra; in.read(&extra, 1) == 1) in.damaged("more data than the header says", expected, end);

  r.x = Tensor<T>(shape, at);
  const auto size = static_cast<std::size_t>(type->bytes);
  for (std::size_t k = 0, n = stored.size() / size; k < n; ++k) {
    const uint64_t v = bits(&stored[k * size], size);
    const unsigned unused = static_cast<unsigned>(64 - 8 * size);
    const double value = type->kind == 'u'   ? static_cast<double>(v)
                         : type->kind == 'i' ? static_cast<double>(static_cast<int64_t>(v << unused) >> unused)
                         : size == 4         ? static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(v)))
                                             : std::bit_cast<double>(v);
    r.x.data()[k] = static_cast<T>(slope != 0 ? slope * value + inter : value);
  }
  return r;
}

}  // namespace gradus::io
