"""Describes a dataset in Croissant 1.0, the JSON-LD form that dataset tools read (http://mlcommons.org/croissant/1.0)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data.dataset import DatasetCard

# The context of the specification, section "Croissant format: prefixes and namespaces".
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
TEXT_FIELDS = (
    "key",
    "caption",
    "subject",
    "collection",
    "style",
    "split",
    "licence",
    "creator",
    "source_uri",
    "sha256",
)


def croissant(card: DatasetCard) -> str:
    """Return the JSON-LD text: each shard with its digest, and how records and pictures lie in them."""
    description = f"{card.count:,} captioned pictures, policy {card.policy}, Merkle root {card.version}."
    creators = sorted({(origin.creator, origin.creator_url) for origin in card.sources})
    document = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": card.name,
        "description": description,
        "version": f"1.0.0+{card.version[:12]}",
        "license": [_licence(licence) for licence in card.licences],
        "creator": [_without_empty({"@type": "sc:Organization", "name": name, "url": url}) for name, url in creators],
        "url": f"urn:sha256:{card.version}",
        "citeAs": "See ATTRIBUTION.md.",
        "datePublished": "1970-01-01",
        "distribution": [*_shards(card), *_file_sets(card)],
        "recordSet": [_record_set(), _picture_set()],
    }
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _licence(expression: str) -> str:
    """Return the address of one SPDX licence; compound and own licences have none and stay as they are."""
    listed = " " not in expression and not expression.startswith("LicenseRef-")
    return f"https://spdx.org/licenses/{expression}" if listed else expression


def _shards(card: DatasetCard) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileObject",
            "@id": shard.file,
            "name": shard.file,
            "contentUrl": shard.file,
            "contentSize": f"{shard.bytes} B",
            "encodingFormat": "application/x-tar",
            "sha256": shard.sha256,
        }
        for shard in card.shards
    ]


def _file_sets(card: DatasetCard) -> list[dict[str, Any]]:
    shards = [{"@id": shard.file} for shard in card.shards]
    return [
        {
            "@type": "cr:FileSet",
            "@id": name,
            "name": name,
            "containedIn": shards,
            "encodingFormat": encoding,
            "includes": includes,
        }
        for name, encoding, includes in (
            ("records", "application/json", "*.json"),
            ("pictures", "image/webp", "*.webp"),
        )
    ]


def _record_set() -> dict[str, Any]:
    texts = [
        {
            "@type": "cr:Field",
            "@id": f"samples/{name}",
            "name": name,
            "dataType": "sc:Text",
            "source": {"fileSet": {"@id": "records"}, "extract": {"jsonPath": f"$.{name}"}},
        }
        for name in TEXT_FIELDS
    ]
    return {"@type": "cr:RecordSet", "@id": "samples", "name": "samples", "field": texts}


def _picture_set() -> dict[str, Any]:
    parts = (("file", "sc:Text", "filename"), ("picture", "sc:ImageObject", "content"))
    return {
        "@type": "cr:RecordSet",
        "@id": "drawn",
        "name": "drawn",
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"drawn/{name}",
                "name": name,
                "dataType": kind,
                "source": {"fileSet": {"@id": "pictures"}, "extract": {"fileProperty": content}},
            }
            for name, kind, content in parts
        ],
    }


def _without_empty(values: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}
