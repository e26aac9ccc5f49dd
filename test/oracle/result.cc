#include "result.h"

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <map>
#include <set>
#include <utility>

namespace oracle {

const char* TagName(Tag t) {
  static const char* const names[] = {
#define X(id, name) name,
      ORACLE_TAGS(X)
#undef X
  };
  return t < Tag::kCount ? names[static_cast<int>(t)] : "?";
}

namespace {

void PutString(const std::string& s, std::string* out) {
  uint32_t n = static_cast<uint32_t>(s.size());
  out->append(reinterpret_cast<const char*>(&n), sizeof(n));
  out->append(s);
}

bool GetString(const std::string& in, size_t* at, std::string* s) {
  uint32_t n;
  if (in.size() - *at < sizeof(n)) return false;
  memcpy(&n, in.data() + *at, sizeof(n));
  *at += sizeof(n);
  if (in.size() - *at < n) return false;
  s->assign(in, *at, n);
  *at += n;
  return true;
}

std::string Printable(const std::string& s) {
  std::string out;
  char buf[8];
  for (unsigned char c : s) {
    if (c >= 0x20 && c < 0x7f) {
      out += static_cast<char>(c);
    } else {
      snprintf(buf, sizeof(buf), "\\x%02x", c);
      out += buf;
    }
  }
  return out;
}

}  // namespace

void Pack(const Result& r, std::string* out) {
  out->clear();
  for (const Field& f : r) {
    out->push_back(static_cast<char>(f.tag));
    out->append(reinterpret_cast<const char*>(&f.num), sizeof(f.num));
    PutString(f.label, out);
    PutString(f.text, out);
  }
}

bool Unpack(const std::string& in, Result* r) {
  size_t at = 0;
  r->clear();
  while (at < in.size()) {
    Field f;
    if (in.size() - at < 1 + sizeof(f.num)) return false;
    f.tag = static_cast<Tag>(in[at++]);
    memcpy(&f.num, in.data() + at, sizeof(f.num));
    at += sizeof(f.num);
    if (!GetString(in, &at, &f.label) || !GetString(in, &at, &f.text))
      return false;
    r->push_back(std::move(f));
  }
  return true;
}

std::vector<uint64_t> Canonicalize(Result* r) {
  std::vector<uint64_t> seen;
  for (Field& f : *r) {
    if (f.tag != Tag::kIno) continue;
    size_t i = 0;
    const auto ino = static_cast<uint64_t>(f.num);
    while (i < seen.size() && seen[i] != ino) i++;
    if (i == seen.size()) seen.push_back(ino);
    f.num = static_cast<int64_t>(i) + 1;
  }
  return seen;
}

std::string ErrnoText(int64_t ret) {
  if (ret >= 0 || ret < -4095) return std::to_string(ret);
  const char* name = strerrorname_np(static_cast<int>(-ret));
  return name != nullptr ? name : std::to_string(ret);
}

std::string ValueText(const Field& f) {
  char buf[64];
  switch (f.tag) {
    case Tag::kMode:
      snprintf(buf, sizeof(buf), "0%" PRIo64, static_cast<uint64_t>(f.num));
      return buf;
    case Tag::kAttrs:
    case Tag::kRdev:
      snprintf(buf, sizeof(buf), "0x%" PRIx64, static_cast<uint64_t>(f.num));
      return buf;
    case Tag::kFlags:
      if (f.num < 0) return ErrnoText(f.num);
      snprintf(buf, sizeof(buf), "0x%" PRIx64, static_cast<uint64_t>(f.num));
      return buf + Printable(f.text);
    case Tag::kIno:
      return "inode #" + std::to_string(f.num);
    default:
      break;
  }
  if (f.text.empty()) return ErrnoText(f.num);
  if (f.num < 0) return ErrnoText(f.num) + " " + Printable(f.text);
  return Printable(f.text);
}

namespace {

// An object which only one side has is one difference, not one per field.
std::vector<DiffRow> OneRowForMissing(const std::vector<DiffRow>& rows) {
  std::vector<DiffRow> kept;
  std::set<std::pair<std::string, bool>> seen;
  for (const DiffRow& row : rows) {
    bool missing = row.left == "(none)" || row.right == "(none)";
    if (!missing || row.label.empty() ||
        seen.emplace(row.label, row.left == "(none)").second) {
      kept.push_back(row);
    }
  }
  return kept;
}

}  // namespace

std::vector<DiffRow> Compare(const Result& l, const Result& r,
                             uint64_t ignore) {
  std::vector<DiffRow> rows;
  ignore |= 1ULL << static_cast<int>(Tag::kRaw);
  auto skip = [&](const Field& f) {
    return ((ignore >> static_cast<int>(f.tag)) & 1) != 0;
  };
  // The usual case: same fields in the same order.
  size_t i = 0;
  if (l.size() == r.size()) {
    while (i < l.size() && (l[i] == r[i] || (skip(l[i]) && skip(r[i])))) i++;
    if (i == l.size()) return rows;
  }
  using Key = std::pair<std::string, Tag>;
  auto key = [](const Field& f) {
    if (f.tag != Tag::kXattr) return Key(f.label, f.tag);
    return Key(f.label + " " + f.text.substr(0, f.text.find(' ')), f.tag);
  };
  std::map<Key, std::vector<const Field*>> right;
  for (const Field& f : r) {
    if (!skip(f)) right[key(f)].push_back(&f);
  }
  for (const Field& f : l) {
    if (skip(f)) continue;
    auto it = right.find(key(f));
    if (it == right.end() || it->second.empty()) {
      rows.push_back({f.tag, f.label, ValueText(f), "(none)"});
      continue;
    }
    const Field* g = it->second.front();
    it->second.erase(it->second.begin());
    if (!(f == *g)) {
      rows.push_back({f.tag, f.label, ValueText(f), ValueText(*g)});
    }
  }
  for (const auto& [name, fields] : right) {
    for (const Field* g : fields) {
      rows.push_back({g->tag, g->label, "(none)", ValueText(*g)});
    }
  }
  return OneRowForMissing(rows);
}

uint64_t Hash(const char* data, size_t n, uint64_t h) {
  while (n >= 8) {
    uint64_t w;
    memcpy(&w, data, 8);
    h = (h ^ w) * 0x9e3779b97f4a7c15ULL;
    h ^= h >> 29;
    data += 8;
    n -= 8;
  }
  for (; n > 0; n--, data++) {
    h = (h ^ static_cast<unsigned char>(*data)) * 0x9e3779b97f4a7c15ULL;
    h ^= h >> 29;
  }
  return h;
}

std::string DataText(const char* data, size_t n) {
  char buf[64];
  snprintf(buf, sizeof(buf), "len %zu", n);
  std::string s = buf;
  size_t shown = n <= 48 ? n : 12;
  s += " [";
  for (size_t i = 0; i < shown; i++) {
    snprintf(buf, sizeof(buf), "%02x", static_cast<unsigned char>(data[i]));
    s += buf;
  }
  s += shown < n ? "..]" : "]";
  if (shown < n) {
    snprintf(buf, sizeof(buf), " hash %016" PRIx64, Hash(data, n, 1));
    s += buf;
  }
  return s;
}

}  // namespace oracle
