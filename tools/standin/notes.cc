// What plain replies tell of nodes, names and locks.
#include <linux/fs.h>

#include "answers.h"

namespace handlefs::standin {
namespace {

using proto::Opcode;

// The texts of a request that was answered with success.
struct Texts {
  std::string first, second;
};

Texts TextsOf(const Exchange& e) {
  Texts texts;
  const proto::OpRow* row = proto::FindRow(e.header.opcode);
  if (row == nullptr) return texts;
  proto::Cursor cursor(
      Bytes(e.request).subspan(sizeof(e.header) + row->fixed_in));
  if (row->text != proto::Text::kNone) {
    if (auto text = cursor.TakeText(row->text); text.ok()) {
      texts.first = text->view();
    }
  }
  if (row->text2 != proto::Text::kNone) {
    if (auto text = cursor.TakeText(row->text2); text.ok()) {
      texts.second = text->view();
    }
  }
  return texts;
}

template <typename T>
T Fixed(const Exchange& e) {
  return proto::Cursor(Bytes(e.request).subspan(sizeof(e.header)))
      .Take<T>()
      .value_or(T{});
}

}  // namespace

void Answers::NoteEntry(const Exchange& e, const abi::EntryOut& entry) {
  nodes_.SawAttributes(entry.nodeid, entry.attr);
  if (e.op() == Opcode::kTmpfile) return;
  nodes_.Named(e.header.nodeid, TextsOf(e).first, entry.nodeid);
}

void Answers::NotePlain(const Exchange& e, Bytes payload) {
  const proto::OpRow* row = proto::FindRow(e.header.opcode);
  if (row == nullptr) return;
  const uint64_t node = e.header.nodeid;
  if ((row->flags & proto::kMakesEntry) != 0) {
    auto entry = proto::Cursor(payload).Take<abi::EntryOut>();
    if (!entry || entry->nodeid == 0) return;
    nodes_.Looked(entry->nodeid);
    NoteEntry(e, *entry);
    return;
  }
  switch (row->op) {
    case Opcode::kGetattr:
    case Opcode::kSetattr:
      if (auto out = proto::Cursor(payload).Take<abi::AttrOut>()) {
        nodes_.SawAttributes(node, out->attr);
      }
      break;
    case Opcode::kUnlink:
    case Opcode::kRmdir:
      nodes_.Unlinked(node, TextsOf(e).first);
      break;
    case Opcode::kRename: {
      Texts texts = TextsOf(e);
      nodes_.Renamed(node, texts.first, Fixed<abi::RenameIn>(e).newdir,
                     texts.second, Nodes::Move::kReplace);
      break;
    }
    case Opcode::kRename2: {
      Texts texts = TextsOf(e);
      auto in = Fixed<abi::Rename2In>(e);
      nodes_.Renamed(node, texts.first, in.newdir, texts.second,
                     (in.flags & RENAME_EXCHANGE) != 0 ? Nodes::Move::kExchange
                                                       : Nodes::Move::kReplace);
      break;
    }
    case Opcode::kSetlk:
    case Opcode::kSetlkw:
      nodes_.Locked(node, Fixed<abi::LkIn>(e));
      break;
    case Opcode::kFlush:
      nodes_.Flushed(node, Fixed<abi::FlushIn>(e).lock_owner);
      break;
    case Opcode::kRelease:
      nodes_.Released(node, Fixed<abi::ReleaseIn>(e).fh);
      break;
    default:
      break;
  }
}

}  // namespace handlefs::standin
