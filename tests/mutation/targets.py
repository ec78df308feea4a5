"""What is mutated, and which tests may be asked."""

from typing import Final

TARGETS: Final = (
    # How a batch, its refusals and its offsets are stored: once, in one transaction.
    "src/tradepipe/postgres/batch.py",
    "src/tradepipe/postgres/insert.py",
    "src/tradepipe/postgres/bisection.py",
    "src/tradepipe/postgres/offsets.py",
    "src/tradepipe/postgres/sink_store.py",
    "src/tradepipe/pipeline/sink_writer.py",
    # What is read, from which offset, and what is forgotten when a partition leaves.
    "src/tradepipe/trade/records.py",
    "src/tradepipe/trade/validated.py",
    "src/tradepipe/kafka/assignment.py",
    "src/tradepipe/kafka/messages.py",
    "src/tradepipe/kafka/consumer.py",
    "src/tradepipe/kafka/consumer_errors.py",
    "src/tradepipe/kafka/failures.py",
    "src/tradepipe/kafka/unreadable.py",
    "src/tradepipe/kafka/malformed.py",
    "src/tradepipe/kafka/misnumbered.py",
    "src/tradepipe/pipeline/sink_reader.py",
    "src/tradepipe/pipeline/partitions.py",
    "src/tradepipe/pipeline/validator_buffer.py",
    "src/tradepipe/pipeline/validator_reader.py",
    # What is sent, and when a record counts as sent.
    "src/tradepipe/kafka/config.py",
    "src/tradepipe/kafka/producer.py",
    "src/tradepipe/kafka/transactions.py",
    "src/tradepipe/pipeline/producer.py",
    # Which records are taken.
    "src/tradepipe/trade/constraints.py",
    "src/tradepipe/trade/declaration.py",
    "src/tradepipe/trade/rules.py",
    "src/tradepipe/pipeline/validation.py",
    "src/tradepipe/codec/admission.py",
    "src/tradepipe/registry/schema_ids.py",
    "src/tradepipe/codec/decoder.py",
)
"""The modules that carry the guarantees, as paths in the repository. Rename a module, and rename it here."""

TRACED: Final = "src/tradepipe"
"""Where the tests are traced: in more than the targets, because what they define is used elsewhere."""

NEVER_ASKED: Final = (
    # They start services or programs, build wheels, attack interfaces or read documents and the repository's own files,
    # and execute nothing of the targets that others do not.
    "tests/embedded",
    "tests/fuzz",
    "tests/interop",
    "tests/mutation",
    "tests/security",
    "tests/services",
    "tests/testing/example_service",
    "tests/testing/test_example_service.py",
    "tests/testing/test_plugin.py",
    "tests/cli/test_random_interrupts.py",
    "tests/cli/test_usage_errors.py",
    "tests/cli/test_wrong_starts.py",
    "tests/test_compose.py",
    "tests/test_dockerfile.py",
    "tests/test_docs.py",
    "tests/test_document_blocks.py",
    "tests/test_layering.py",
    "tests/test_names.py",
    "tests/test_operating.py",
    "tests/test_owner_steps.py",
    "tests/test_packaging.py",
    "tests/test_proxy.py",
    "tests/test_public_names.py",
    "tests/test_readme.py",
    "tests/test_schema_page.py",
    "tests/test_schema_sync.py",
    "tests/test_selection.py",
    "tests/test_upgrade.py",
    "tests/test_workflows.py",
)
"""Tests that are not traced, and so never chosen."""
