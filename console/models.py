"""Every table of the house, imported so that migrations and tests see them all."""

# ruff: noqa: F401
import console.jobs
import metering.business
import metering.case_files
import metering.certificates
import metering.drafts
import metering.exemptions
import metering.findings
import metering.intake
import metering.notices
import metering.openings
import metering.policies
import metering.protections
import metering.replays
import metering.sources
import metering.suspensions
import metering.windows
import providers.bills
import providers.incidents
import providers.inventory
import providers.marks
import providers.orders
import quota.agencies
import quota.audit
import quota.calendar
import quota.catalog
import quota.dossier
import quota.ledger
import quota.notices
import quota.people
import quota.pools
import quota.rulebook
